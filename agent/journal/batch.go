package journal

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
)

// A segment is a row of batches, and a batch is what one commit wrote: valid as a whole or not at all.
//
//	magic 4 | kind 1 | length of the payload 4 | sequence 8 | CRC-32C of kind to sequence and of the payload 4 | payload
//
// Numbers are little-endian. The payload is a row of records, each behind its length (uvarint). Sequences only grow.
const (
	batchMagic  = "hxj1"
	batchHeader = len(batchMagic) + 1 + 4 + 8 + 4
	crcAt       = batchHeader - 4

	// MaxRecord is the size of the largest record, in bytes.
	MaxRecord = 1 << 20
	// maxBatch bounds what one commit writes, and what a reader believes of a length.
	maxBatch = 4 << 20
)

type batchKind byte

const (
	batchHead    batchKind = 'H' // first of a segment: its header
	batchState   batchKind = 'S' // part of the checkpoint
	batchEnd     batchKind = 'E' // end of the checkpoint
	batchRecords batchKind = 'R' // what happened since
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sealBatch fills in the header of b, whose payload lies behind room for the header.
func sealBatch(b []byte, kind batchKind, sequence uint64) {
	copy(b, batchMagic)
	b[4] = byte(kind)
	binary.LittleEndian.PutUint32(b[5:], uint32(len(b)-batchHeader))
	binary.LittleEndian.PutUint64(b[9:], sequence)
	binary.LittleEndian.PutUint32(b[crcAt:], checksum(b))
}

func checksum(b []byte) uint32 {
	return crc32.Update(crc32.Checksum(b[4:crcAt], castagnoli), castagnoli, b[batchHeader:])
}

// batchLength returns the length of the batch that begins with h, header included, and whether h is a header at all.
func batchLength(h []byte) (int, bool) {
	if len(h) < batchHeader || string(h[:4]) != batchMagic {
		return 0, false
	}
	switch batchKind(h[4]) {
	case batchHead, batchState, batchEnd, batchRecords:
	default:
		return 0, false
	}
	n := binary.LittleEndian.Uint32(h[5:])
	return batchHeader + int(n), n <= maxBatch
}

// batch is one valid batch as read.
type batch struct {
	kind     batchKind
	sequence uint64
	payload  []byte
}

// parseBatch reads a batch that fills b.
func parseBatch(b []byte) (batch, bool) {
	n, ok := batchLength(b)
	if !ok || n != len(b) || binary.LittleEndian.Uint32(b[crcAt:]) != checksum(b) {
		return batch{}, false
	}
	return batch{batchKind(b[4]), binary.LittleEndian.Uint64(b[9:]), b[batchHeader:]}, true
}

var errPayload = errors.New("a checksum is right and the records under it are not: written by another program or version")

// records calls visit with each record of a payload. The bytes are visit's until it returns.
func records(payload []byte, visit func([]byte) error) error {
	for len(payload) > 0 {
		n, size := binary.Uvarint(payload)
		if size <= 0 || n > uint64(len(payload)-size) {
			return errPayload
		}
		if err := visit(payload[size : size+int(n)]); err != nil {
			return err
		}
		payload = payload[size+int(n):]
	}
	return nil
}

// header is the first batch of a segment.
type header struct {
	day int64 // of its first records, in days since the owner's epoch
	// previous names the segment this one goes on from, and how many of its bytes count: what lies behind them was never answered.
	// 0: this is the first.
	previous, previousLength uint64
}

const headerVersion = 1

func (h header) append(b []byte) []byte {
	b = append(b, headerVersion)
	b = binary.AppendVarint(b, h.day)
	b = binary.AppendUvarint(b, h.previous)
	return binary.AppendUvarint(b, h.previousLength)
}

var errHeader = errors.New("the header of the segment is of another version")

func parseHeader(b []byte) (header, error) {
	var h header
	if len(b) == 0 || b[0] != headerVersion {
		return h, errHeader
	}
	b = b[1:]
	var n, m, o int
	h.day, n = binary.Varint(b)
	if n > 0 {
		h.previous, m = binary.Uvarint(b[n:])
	}
	if m > 0 {
		h.previousLength, o = binary.Uvarint(b[n+m:])
	}
	if o <= 0 || n+m+o != len(b) {
		return header{}, errHeader
	}
	return h, nil
}

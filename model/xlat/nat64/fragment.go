package nat64

import (
	"net/netip"

	"hexapod.dev/model/xlat"
)

// piece names the fragments of one packet.
type piece struct {
	src, dst netip.Addr
	id       uint32
	protocol uint8
}

// ports is what the first fragment showed, for those behind it: the ends after translation (RFC 6146 3.4).
type ports struct {
	ends    xlat.Ends
	expires Seconds
}

// maxPieces bounds the packets whose fragments are known at a time.
const maxPieces = 65536

// first remembers where a first fragment went.
func (t *Table) first(q xlat.Query, e xlat.Ends) {
	if !q.More || q.Offset > 0 {
		return
	}
	if len(t.pieces) >= maxPieces {
		t.forget()
	}
	if len(t.pieces) < maxPieces {
		t.pieces[pieceOf(q)] = ports{e, t.now + t.c.Times.Fragment}
	}
}

// rest maps a fragment behind the first. One that comes before its first has to wait: the caller keeps it for Times.Fragment.
func (t *Table) rest(q xlat.Query) (xlat.Ends, xlat.Why) {
	p, ok := t.pieces[pieceOf(q)]
	if !ok || p.expires <= t.now {
		return xlat.Ends{}, xlat.Waiting
	}
	e := p.ends
	e.SrcPort, e.DstPort = 0, 0
	return e, xlat.Translated
}

func pieceOf(q xlat.Query) piece { return piece{q.Ends.Src, q.Ends.Dst, q.ID, q.Protocol} }

// forget drops what is known of fragments whose time is over.
func (t *Table) forget() {
	for k, p := range t.pieces {
		if p.expires <= t.now {
			delete(t.pieces, k)
		}
	}
}

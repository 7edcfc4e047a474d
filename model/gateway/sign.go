package gateway

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
	"slices"
)

// Key signs words (HMAC-SHA-256, RFC 2104). The empty one stands for words that are not signed.
type Key []byte

// KeyLen is the length of a key in bytes: that of the hash (RFC 2104 3).
const KeyLen = sha256.Size

// String hides it.
func (k Key) String() string {
	if len(k) == 0 {
		return "none"
	}
	return "(hidden)"
}

// Signature says in one line what a gateway with these keys does.
func Signature(keys []Key) string {
	switch unsigned := slices.ContainsFunc(keys, func(k Key) bool { return len(k) == 0 }); {
	case len(keys) == 0, unsigned && len(keys) == 1:
		return "not signed"
	case len(keys[0]) == 0:
		return "not signed, and signed ones are believed too"
	case unsigned:
		return "signed, and unsigned ones are believed too"
	}
	return "signed"
}

// Doubt is why what came is not believed; empty: it is.
type Doubt string

// The doubts.
const (
	NotWhole   Doubt = "not what gateways send"
	Stranger   Doubt = "not from a gateway of the Translation"
	Unsigned   Doubt = "not signed"
	WrongKey   Doubt = "signed with another key"
	Repeated   Doubt = "said before"
	Unanswered Doubt = "not an answer to this gateway" // at the begin of either side, or said before that
)

// Voice is how a gateway speaks with the others, so that nobody can speak as one of them who has no key.
//
// What was said once is believed once, and no clock is needed for that: each word has a number, which grows, and two that are drawn at random when
// a process begins, its own and that of the one it speaks to. So words of an earlier process, and those for an earlier one, are told from new ones.
// Who begins is heard from its second word on, when it has heard the other.
type Voice struct {
	at     netip.Addr
	life   uint64 // drawn when this process began
	number uint64 // of the last word
	keys   []Key  // the first signs
	others map[netip.Addr]*other
}

// other is what is known of another gateway.
type other struct {
	life     uint64 // of the process that is heard
	answered bool   // and has heard this one; else it may be anybody's
	number   uint64 // of its last word
	before   []uint64
}

// NewVoice makes the voice of the gateway at an address. life is a random number that no process before it had.
func NewVoice(at netip.Addr, life uint64) *Voice {
	return &Voice{at: at, life: max(life, 1), others: map[netip.Addr]*other{}}
}

// Know says who the others are, and the keys: the first signs, all are believed. No keys are one that is empty.
func (v *Voice) Know(others []Member, keys []Key) {
	if v.keys = keys; len(keys) == 0 {
		v.keys = []Key{nil}
	}
	known := make(map[netip.Addr]*other, len(others))
	for _, m := range others {
		if known[m.At] = v.others[m.At]; known[m.At] == nil {
			known[m.At] = &other{}
		}
	}
	v.others = known
}

// Say writes a word to another gateway. Bindings beyond MostTold are left out.
func (v *Voice) Say(to netip.Addr, w Word) []byte {
	key := v.keys[0]
	if len(key) == 0 {
		return v.datagram(to, append(wordMark[:], textOf(w)...))
	}
	heard := uint64(0)
	if o := v.others[to]; o != nil {
		heard = o.life
	}
	v.number++
	said := append(make([]byte, 0, mostSaid), signedMark[:]...)
	for _, n := range []uint64{v.life, heard, v.number} {
		said = binary.BigEndian.AppendUint64(said, n)
	}
	said = append(said, textOf(w)...)
	return v.datagram(to, append(said, key.sum(v.at, to, said)...))
}

// sum is the signature of what one gateway says to another: half of the hash (RFC 2104 5).
func (k Key) sum(from, to netip.Addr, said []byte) []byte {
	h := hmac.New(sha256.New, k)
	src, dst := from.As16(), to.As16()
	h.Write(src[:]) // a hash takes all (hash.Hash)
	h.Write(dst[:])
	h.Write(said)
	return h.Sum(nil)[:sumLen]
}

// Hear reads what came for this gateway's own translator. What is in doubt has no effect.
func (v *Voice) Hear(b []byte) (Received, Doubt) {
	r, said, ok := open(b)
	switch o := v.others[r.From]; {
	case !ok:
		return r, NotWhole
	case o == nil:
		return r, Stranger
	case r.Packet != nil:
		return r, ""
	default:
		return v.word(r, o, said)
	}
}

// unsigned reports whether words without a signature are believed.
func (v *Voice) unsigned() bool {
	return slices.ContainsFunc(v.keys, func(k Key) bool { return len(k) == 0 })
}

func (v *Voice) word(r Received, o *other, said []byte) (Received, Doubt) {
	switch {
	case len(said) >= len(wordMark) && [4]byte(said) == wordMark:
		if !v.unsigned() {
			return r, Unsigned
		}
		said = said[len(wordMark):]
	case len(said) >= signedHead+sumLen && [4]byte(said) == signedMark:
		end := len(said) - sumLen
		if !slices.ContainsFunc(v.keys, func(k Key) bool { return len(k) > 0 && hmac.Equal(k.sum(r.From, v.at, said[:end]), said[end:]) }) {
			return r, WrongKey
		}
		at := func(i int) uint64 { return binary.BigEndian.Uint64(said[len(signedMark)+8*i:]) }
		if d := o.hears(v.life, at(0), at(1), at(2)); d != "" && !v.unsigned() { // who says words without a number answers nothing
			return r, d
		}
		said = said[signedHead:end]
	default:
		return r, NotWhole
	}
	var ok bool
	if r.Word, ok = readText(said); !ok {
		return r, NotWhole
	}
	return r, ""
}

// hears takes the numbers of a word with a good signature: what its process drew, what it heard last from this one, which drew mine, and which of
// its words it is.
func (o *other) hears(mine, life, heard, number uint64) Doubt {
	if heard != mine {
		if !o.answered { // it is answered; whether it is there now its next word says
			o.life = life
		}
		return Unanswered
	}
	switch {
	case o.answered && life == o.life:
		if number <= o.number {
			return Repeated
		}
	case slices.Contains(o.before, life):
		return Repeated
	default:
		if o.answered { // only who has a key makes this longer, once in a life
			o.before = append(o.before, o.life)
		}
		o.life, o.answered = life, true
	}
	o.number = number
	return ""
}

package dhcp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"
)

// DUID returns the identifier of a host from an Ethernet address it had once: DUID-LL (RFC 8415 11.4). It stays when the card is
// exchanged, so the caller keeps it.
func DUID(mac [6]byte) []byte {
	return (&dhcpv6.DUIDLL{HWType: iana.HWTypeEthernet, LinkLayerAddr: mac[:]}).ToBytes()
}

// Bytes returns the message as it is sent.
func (m Message) Bytes() ([]byte, error) {
	out := dhcpv6.Message{MessageType: dhcpv6.MessageType(m.Kind), TransactionID: m.Transaction}
	client, err := dhcpv6.DUIDFromBytes(m.Client)
	if err != nil {
		return nil, fmt.Errorf("DHCPv6 %s: identifier of this host: %w", m.Kind, err)
	}
	out.AddOption(dhcpv6.OptClientID(client))
	if m.Server != nil {
		server, err := dhcpv6.DUIDFromBytes(m.Server)
		if err != nil {
			return nil, fmt.Errorf("DHCPv6 %s: identifier of the server: %w", m.Kind, err)
		}
		out.AddOption(dhcpv6.OptServerID(server))
	}
	if m.Kind != Advertise && m.Kind != Reply {
		out.AddOption(dhcpv6.OptElapsedTime(min(m.Elapsed, longestElapsed)))
		out.AddOption(dhcpv6.OptRequestedOption(dhcpv6.OptionSolMaxRT)) // RFC 8415 18.2.1: a client asks for it always
	}
	if m.Preference != 0 {
		out.AddOption(&dhcpv6.OptionGeneric{OptionCode: dhcpv6.OptionPreference, OptionData: []byte{m.Preference}})
	}
	if m.Status != Success {
		out.AddOption(&dhcpv6.OptStatusCode{StatusCode: iana.StatusCode(m.Status)})
	}
	if m.SolMaxRT != 0 {
		out.AddOption(&dhcpv6.OptionGeneric{OptionCode: dhcpv6.OptionSolMaxRT, OptionData: binary.BigEndian.AppendUint32(nil, uint32(m.SolMaxRT/time.Second))})
	}
	if m.IA != nil {
		out.AddOption(m.IA.option())
	}
	return out.ToBytes(), nil
}

// longestElapsed is the most that hundredths of a second in 16 bits say (RFC 8415 21.9).
const longestElapsed = 0xffff * 10 * time.Millisecond

func (ia IA) option() dhcpv6.Option {
	out := &dhcpv6.OptIAPD{T1: ia.T1, T2: ia.T2}
	binary.BigEndian.PutUint32(out.IaId[:], ia.ID)
	for _, o := range ia.Prefixes {
		out.Options.Add(&dhcpv6.OptionGeneric{OptionCode: dhcpv6.OptionIAPrefix, OptionData: o.bytes()})
	}
	if ia.Status != Success {
		out.Options.Add(&dhcpv6.OptStatusCode{StatusCode: iana.StatusCode(ia.Status)})
	}
	return out
}

// bytes writes the value of an IA Prefix option (RFC 8415 21.22).
func (o Offer) bytes() []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(o.Preferred/time.Second))
	b = binary.BigEndian.AppendUint32(b, uint32(o.Valid/time.Second))
	addr := o.Prefix.Addr().As16()
	return append(append(b, byte(o.Prefix.Bits())), addr[:]...)
}

// errNoMessage is why bytes are thrown away.
var errNoMessage = errors.New("not a DHCPv6 message between a server and a client")

// Parse reads a message. Of several IA_PD it returns the one with the given id, or none. Unknown options are passed over.
func Parse(b []byte, iaid uint32) (Message, error) {
	in, err := dhcpv6.MessageFromBytes(b)
	if err != nil {
		return Message{}, fmt.Errorf("%w: %w", errNoMessage, err)
	}
	m := Message{Kind: Kind(in.MessageType), Transaction: in.TransactionID, Elapsed: in.Options.ElapsedTime(), Preference: in.Options.Preference()}
	if id := in.Options.ClientID(); id != nil {
		m.Client = id.ToBytes()
	}
	if id := in.Options.ServerID(); id != nil {
		m.Server = id.ToBytes()
	}
	m.Status = statusOf(in.Options.Status())
	if o := in.GetOneOption(dhcpv6.OptionSolMaxRT); o != nil {
		if v := o.ToBytes(); len(v) == 4 {
			m.SolMaxRT = time.Duration(binary.BigEndian.Uint32(v)) * time.Second
		}
	}
	for _, pd := range in.Options.IAPD() {
		if id := binary.BigEndian.Uint32(pd.IaId[:]); id == iaid && m.IA == nil {
			m.IA = &IA{ID: id, T1: pd.T1, T2: pd.T2, Status: statusOf(pd.Options.Status()), Prefixes: offers(pd)}
		}
	}
	return m, nil
}

func statusOf(o *dhcpv6.OptStatusCode) Code {
	if o == nil { // RFC 8415 21.13: absent means success
		return Success
	}
	return Code(o.StatusCode)
}

// offers lists the prefixes of an IA_PD that are some; one with a failure of its own is none.
func offers(pd *dhcpv6.OptIAPD) []Offer {
	var list []Offer
	for _, o := range pd.Options.Prefixes() {
		if o.Prefix == nil || statusOf(o.Options.Status()) != Success {
			continue
		}
		addr, ok := netip.AddrFromSlice(o.Prefix.IP)
		bits, size := o.Prefix.Mask.Size()
		if !ok || size != 128 {
			continue
		}
		list = append(list, Offer{Prefix: netip.PrefixFrom(addr, bits), Preferred: o.PreferredLifetime, Valid: o.ValidLifetime})
	}
	return list
}

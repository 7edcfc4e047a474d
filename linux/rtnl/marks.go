package rtnl

// IFLA_GROUP of the links of endpoints, the mark by which every package here knows them from other links.
const (
	EndpointGroup = 0x6878 // of endpoints that live
	RetiredGroup  = 0x6879 // of links that wait to be removed
)

// OfEndpoint tells by the kernel's marks whether a link was made for an endpoint.
func (l Link) OfEndpoint() bool {
	return l.Kind == "veth" && (l.Group == EndpointGroup || l.Group == RetiredGroup)
}

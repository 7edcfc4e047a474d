// Package datapath is the slow twin of the eBPF programs: what happens to each packet from and to an endpoint, and why.
//
// It is written to be read. The programs in bpf/ must give the same verdict, the same reason and the same bytes for every
// packet; a test of linux/datapath runs both on the same packets. Files here and headers there carry the same names.
package datapath

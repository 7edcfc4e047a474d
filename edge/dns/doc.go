// Package dns is the DNS64 server of a host: it answers its clients from a cache of finished messages, and asks other servers for the rest.
//
// What to synthesise and why is model/dns64's word. A query that the cache can answer is never unpacked: the message is copied, and
// its number, its question and its times to live are written anew. Everything else is unpacked by github.com/miekg/dns and asked
// for once, however many clients wait for it.
//
// The package parses bytes of strangers. It opens no sockets to listen on: it is given them, and runs without privileges.
package dns

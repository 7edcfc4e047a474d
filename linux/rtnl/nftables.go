package rtnl

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"hexapod.dev/linux/netns"
)

// DialNFTables connects to nftables of a namespace (nil: that of the process). Rules is all that it is for.
func DialNFTables(ns *netns.NS) (*Conn, error) {
	c := &Conn{fd: -1}
	err := inside(ns, func() (err error) {
		c.fd, err = socket(unix.NETLINK_NETFILTER, 0)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open a netlink socket for nftables: %w", err)
	}
	return c, nil
}

// Rules calls each for the attributes of every rule of nftables, whatever its table.
func (c *Conn) Rules(each func(attributes []byte) error) error {
	const header = 4 // struct nfgenmsg: any family, version 0
	const get = unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_GETRULE
	return c.Dump(NewRequest("list rules of nftables", get, 0, make([]byte, header)), func(m Message) error {
		if len(m.Body) < header {
			return errors.New("a message of nftables is cut off")
		}
		return each(m.Body[header:])
	})
}

// NFTablesNews opens what can be read from whenever nftables of a namespace have changed. The words themselves are of no use.
func NFTablesNews(ns *netns.NS) (news *os.File, err error) {
	err = inside(ns, func() error {
		fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_NETFILTER)
		if err != nil {
			return err
		}
		news = os.NewFile(uintptr(fd), "news of nftables")
		if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1 << (unix.NFNLGRP_NFTABLES - 1)}); err != nil {
			return errors.Join(err, news.Close())
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("subscribe to news of nftables: %w", err)
	}
	return news, nil
}

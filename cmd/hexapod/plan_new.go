package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"hexapod.dev/model/addressplan"
	"hexapod.dev/model/addressplan/render"
	"hexapod.dev/model/ipam"
)

const planNewAbout = `Makes a plan for the prefix that is yours and writes it as commented YAML to the terminal, or into a folder with --out.

  /32 and the like   fabrics, clusters, racks and hosts: /37 /44 /54 /64, or /36 /44 /52 /64 with --profile nibble
  /48                fabric = cluster = /48, racks of /56, hosts of /64
  /56                fabric = cluster = /56, racks of /60, hosts of /64
  /56 with --eks     fabric = cluster = /56, racks are the /64 subnets of the cloud, hosts of /80
  ula                a new unique local /48 with 40 random bits (RFC 4193)

Readable public addresses tell outsiders the host, the number of the workload and its birth time. With --sealed they tell the
host alone. That is chosen here and stays.`

func runPlanNew(_ context.Context, env environment, args []string) error {
	return planNew(env, args, rand.Reader)
}

// planNew is plan new with the randomness passed in.
func planNew(env environment, args []string, random io.Reader) error {
	s := addressplan.Shape{}
	f := newFlags(env, planNewAbout)
	from := f.String("from", "", "`PREFIX` that is yours, or ula")
	f.StringVar(&s.Name, "name", "main", "`NAME` of the plan")
	profile := f.String("profile", "default", "`default|nibble` lengths of the levels under a short prefix")
	f.BoolVar(&s.EKS, "eks", false, "the prefix is the /56 of a cloud network: racks are its subnets")
	f.BoolVar(&s.Sealed, "sealed", false, "write host parts through a keyed permutation")
	f.BoolVar(&s.Lab, "lab", false, "allow documentation prefixes")
	f.Uint64Var(&s.Fabric, "fabric", 0, "`N` number of the fabric in the prefix, where it holds several")
	f.IntVar(&s.Racks, "racks", 1, "`N` racks")
	f.IntVar(&s.Hosts, "hosts", 0, "`N` hosts in each rack")
	for level, to := range map[string]*int{"fabric": &s.Lengths.Fabric, "cluster": &s.Lengths.Cluster, "edge": &s.Lengths.EdgeCluster, "rack": &s.Lengths.Rack, "host": &s.Lengths.Host} {
		f.IntVar(to, level+"-length", 0, "`BITS` of each "+strings.Replace(level, "edge", "edge cluster", 1)+"'s prefix, instead of what fits")
	}
	spine := f.Uint("spine-asn", 0, "`N` AS number of the spine")
	out := f.String("out", "", "`DIR` folder to write into; it must not have a plan yet")
	if help, err := f.parse(args); help || err != nil {
		return err
	}
	switch {
	case *profile != "default" && *profile != "nibble":
		return usagef("profile %q: want default or nibble", *profile)
	case s.Racks < 0 || s.Hosts < 0 || *spine > 1<<32-1:
		return usagef("racks, hosts and AS numbers are not negative and have 32 bits")
	}
	s.Nibble, s.Spine = *profile == "nibble", uint32(*spine)
	var err error
	if s.From, err = ownPrefix(*from, random); err != nil {
		return err
	}
	p, err := addressplan.New(s)
	if err != nil {
		return err
	}
	files, err := render.Config(p, sealKeyName)
	if err != nil {
		return err
	}
	if *out == "" {
		if s.Sealed {
			fmt.Fprintf(env.stderr, "hexapod plan new: a sealed plan needs its key in %s beside it: with --out DIR both are written\n", sealKeyName)
		}
		return printDocuments(env.stdout, files)
	}
	return writePlan(env, *out, files, s.Sealed, random)
}

const sealKeyName = "seal.key"

// ownPrefix reads the value of --from.
func ownPrefix(from string, random io.Reader) (netip.Prefix, error) {
	switch from {
	case "":
		return netip.Prefix{}, usagef("say with --from which prefix is yours, or --from ula")
	case "ula":
		var bits [5]byte
		if _, err := io.ReadFull(random, bits[:]); err != nil {
			return netip.Prefix{}, fmt.Errorf("random bits for a unique local prefix: %w", err)
		}
		return addressplan.ULA(bits)
	}
	p, err := netip.ParsePrefix(from)
	if err != nil {
		return netip.Prefix{}, usagef("--from %q is no prefix: write it like 2001:db8::/32, or ula", from)
	}
	return p, nil
}

// printDocuments writes YAML files as one stream of documents.
func printDocuments(w io.Writer, files []render.File) error {
	for i, f := range files {
		if i > 0 {
			if _, err := io.WriteString(w, "---\n"); err != nil {
				return err
			}
		}
		if _, err := io.WriteString(w, f.Text); err != nil {
			return err
		}
	}
	return nil
}

// writePlan writes a new folder. Nothing that exists is written over.
func writePlan(env environment, dir string, files []render.File, sealed bool, random io.Reader) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make the folder of the plan: %w", err)
	}
	if sealed {
		key := make([]byte, ipam.SealKeySize)
		if _, err := io.ReadFull(random, key); err != nil {
			return fmt.Errorf("random bits for the key: %w", err)
		}
		if err := writeNew(filepath.Join(dir, sealKeyName), hex.EncodeToString(key)+"\n", 0o600); err != nil {
			return err
		}
	}
	for _, f := range files {
		if err := writeNew(filepath.Join(dir, f.Name), f.Text, 0o644); err != nil {
			return err
		}
	}
	p, err := loadPlan(dir)
	if err != nil {
		return err
	}
	fmt.Fprintf(env.stdout, "%s has the plan of %s, with %s. Look at it: hexapod plan show --config %s\n", dir, p.Prefix, counted(len(p.Hosts), "host"), dir)
	return nil
}

// writeNew writes a file that must not be there.
func writeNew(path, text string, mode os.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	switch {
	case errors.Is(err, fs.ErrExist):
		return fmt.Errorf("%s is there already: name an empty folder, or change the plan you have", path)
	case err != nil:
		return fmt.Errorf("write %s: %w", path, err)
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

package main

import (
	"context"
	"fmt"
	"time"

	"hexapod.dev/api/v1alpha1"
	"hexapod.dev/edge/file"
)

func runPlanHostAdd(_ context.Context, env environment, args []string) error {
	f := newFlags(env, "Gives a host the next number of its rack and writes it into the folder: the lowest never used, then the one that has rested longest.")
	dir := f.config()
	cluster := f.String("cluster", "", "`NAME` of the cluster; may be left out where there is one")
	rack := f.String("rack", "", "`RACK` of the host, by name or number")
	mac := f.String("mac", "", "`MAC` address of the host's uplink")
	if help, err := f.parse(args, "NAME"); help || err != nil {
		return err
	}
	name := f.words[0]
	if *rack == "" {
		return usagef("say with --rack where host %s is", name)
	}
	spec := v1alpha1.HostSpec{Cluster: v1alpha1.Ref(*cluster), Rack: v1alpha1.Ref(*rack)}
	if *mac != "" {
		if err := spec.MAC.UnmarshalText([]byte(*mac)); err != nil {
			return usageError{err}
		}
	}
	o, err := file.AddHost(*dir, name, spec, time.Now())
	if err != nil {
		return err
	}
	p, err := loadPlan(*dir)
	if err != nil {
		return err
	}
	h, err := p.Host(name)
	if err != nil {
		return err
	}
	q, err := p.PrefixOf(h)
	if err != nil {
		return err
	}
	fmt.Fprintf(env.stdout, "host %s is number %d of rack %s in cluster %s: %s\n", name, *o.Spec.Number, o.Spec.Rack, o.Spec.Cluster, q)
	return nil
}

func runPlanHostRetire(_ context.Context, env environment, args []string) error {
	f := newFlags(env, "Writes into the record of a host that it is gone. The record stays: its prefix rests and returns.")
	dir := f.config()
	if help, err := f.parse(args, "NAME"); help || err != nil {
		return err
	}
	name := f.words[0]
	if err := file.RetireHost(*dir, name, time.Now()); err != nil {
		return err
	}
	p, err := loadPlan(*dir)
	if err != nil {
		return err
	}
	fmt.Fprintf(env.stdout, "host %s is retired: its prefix rests for %s\n", name, p.Rest)
	return nil
}

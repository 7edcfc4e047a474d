package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"hexapod.dev/edge/file"
	"hexapod.dev/model/addressplan"
	"hexapod.dev/model/addressplan/render"
)

func runPlanShow(_ context.Context, env environment, args []string) error {
	f := newFlags(env, "Shows the plan as a tree with what is used and free; with --svg as a picture as well.")
	dir, output := f.config(), f.output()
	svg := f.String("svg", "", "`FILE` to draw the picture into")
	if help, err := f.parse(args); help || err != nil {
		return err
	}
	p, err := loadPlan(*dir)
	if err != nil {
		return err
	}
	now := planNow()
	if *svg != "" {
		text, err := render.SVG(p, now)
		if err != nil {
			return err
		}
		if err := os.WriteFile(*svg, []byte(text), 0o644); err != nil {
			return fmt.Errorf("write the picture: %w", err)
		}
	}
	text, err := planText(p, *output, now)
	if err != nil {
		return err
	}
	_, err = io.WriteString(env.stdout, text)
	return err
}

func planText(p addressplan.Plan, output format, now addressplan.Seconds) (string, error) {
	if output == formatTable {
		return render.Tree(p, now)
	}
	files, err := render.Render(p, render.JSON, render.Scope{}, render.Options{})
	if err != nil {
		return "", err
	}
	return files[0].Text, nil
}

func runPlanCheck(_ context.Context, env environment, args []string) error {
	f := newFlags(env, "Checks a folder as the agent does, and with --against whether it would renumber living hosts of another.")
	config, output := f.config(), f.output()
	against := f.String("against", "", "`DIR` folder with the plan that is running")
	if help, err := f.parse(args, "[DIR]"); help || err != nil {
		return err
	}
	dir := *config
	if len(f.words) == 1 {
		dir = f.words[0]
	}
	if err := checkFolder(env, *output, dir); err != nil || *against == "" {
		return err
	}
	running, err := file.Load(*against)
	if err != nil {
		return fmt.Errorf("read %s: %w", *against, err)
	}
	next, err := file.Load(dir)
	if err != nil {
		return fmt.Errorf("read %s: %w", dir, err)
	}
	if err := file.Renumbered(&running, next, nil); err != nil {
		return fmt.Errorf("%s would renumber hosts of %s:\n%w", dir, *against, err)
	}
	if *output == formatTable {
		fmt.Fprintf(env.stdout, "no living host of %s is renumbered\n", *against)
	}
	return nil
}

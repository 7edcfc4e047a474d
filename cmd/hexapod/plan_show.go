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
	f := planFlags(env, "show", "Shows the plan as a tree with what is used and free; with --svg as a picture as well.")
	dir := configFlag(f)
	svg := f.String("svg", "", "`file` for a picture")
	output := formatTable
	f.Var(&output, "o", "table or json")
	if help, err := parseFlags(f, args); help || err != nil {
		return err
	}
	if err := noArguments(f); err != nil {
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
	text, err := planText(p, output, now)
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

func runPlanCheck(ctx context.Context, env environment, args []string) error {
	f := planFlags(env, "check", "Checks a folder as the agent does, and with --against whether it would renumber hosts of another.")
	against := f.String("against", "", "`folder` with the plan that is running")
	if help, err := parseFlags(f, args); help || err != nil {
		return err
	}
	dir, err := oneArgument(f, "the folder")
	if err != nil {
		return err
	}
	if err := runCheck(ctx, env, []string{dir}); err != nil || *against == "" {
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
	fmt.Fprintf(env.stdout, "no living host of %s is renumbered\n", *against)
	return nil
}

package sysctl

// SetRun makes c believe what other programs wrote under dir.
func (c *Care) SetRun(dir string) { c.run = dir }

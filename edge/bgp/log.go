package bgp

import (
	"context"
	"log/slog"
	"slices"
	"sync/atomic"
)

// holdTimerExpired is what the server says before it ends a session with a peer that was silent for the hold time.
const holdTimerExpired = "hold timer expired"

// serverLog passes on what the server warns of, and tells the table what it says about single peers: that a message was
// malformed (RFC 7606), or that the hold time was over where restarts are graceful, is said nowhere else.
type serverLog struct {
	next  slog.Handler
	table *table
	attrs []slog.Attr
	mute  *atomic.Bool // the server is being stopped
}

func (l *serverLog) Enabled(ctx context.Context, level slog.Level) bool {
	return !l.mute.Load() && level >= slog.LevelWarn && l.next.Enabled(ctx, level)
}

func (l *serverLog) Handle(ctx context.Context, r slog.Record) error {
	key, what := "", ""
	look := func(a slog.Attr) bool {
		switch a.Key {
		case "Key":
			key = a.Value.String()
		case "Error", "Err":
			what = a.Value.String()
		}
		return true
	}
	for _, a := range l.attrs {
		look(a)
	}
	r.Attrs(look)
	if key != "" && r.Message == holdTimerExpired {
		l.table.holdTimeOver(key)
	}
	if key != "" && what != "" {
		l.table.malformed(key, what)
	}
	return l.next.Handle(ctx, r)
}

func (l *serverLog) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &serverLog{next: l.next.WithAttrs(attrs), table: l.table, attrs: append(slices.Clone(l.attrs), attrs...), mute: l.mute}
}

func (l *serverLog) WithGroup(string) slog.Handler { return l }

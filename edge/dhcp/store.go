package dhcp

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"hexapod.dev/edge/file/whole"
)

// Kept is what outlives the process: who this host is to servers, and what they delegated to it.
type Kept struct {
	DUID  []byte `json:"duid"`
	Link  string `json:"link"` // the uplink the lease came over
	Lease Lease  `json:"lease"`
}

// File keeps leases in one file, replaced as a whole.
type File string

// Load reads what was kept; zero when there is no file. One that cannot be read is an error: with another identifier the host would
// look like a new one to its server.
func (f File) Load() (Kept, error) {
	var k Kept
	b, err := os.ReadFile(string(f))
	if errors.Is(err, fs.ErrNotExist) {
		return k, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &k)
	}
	if err != nil {
		return Kept{}, fmt.Errorf("read the lease in %s: %w; if it cannot be repaired, remove it: the host then asks as a new one", f, err)
	}
	return k, nil
}

// Save writes k durably: after it returns, a crash does not bring the older state back.
func (f File) Save(k Kept) error {
	err := f.replace(k)
	if err != nil {
		return fmt.Errorf("keep the lease in %s: %w", f, err)
	}
	return nil
}

func (f File) replace(k Kept) error {
	b, err := json.Marshal(k)
	if err != nil {
		return err
	}
	return whole.Write(string(f), b, 0o600)
}

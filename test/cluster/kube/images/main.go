// Command images prints the names under which upstream's tests ask for their images, as one JSON object.
//
// It is built against the Kubernetes that is under test, so that no image name stands in this tree.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"k8s.io/kubernetes/test/utils/image"
)

// wanted are the images that the network tests use, by the words of test/cluster/build.
var wanted = map[string]image.ImageID{
	"pause":        image.Pause,
	"agnhost":      image.Agnhost,
	"agnhost-prev": image.AgnhostPrev,
	"busybox":      image.BusyBox,
	"dns-testing":  image.GlibcDnsTesting,
	"iptables":     image.DistrolessIptables,
	"issue-74839":  image.RegressionIssue74839,
}

func main() {
	names := make(map[string]string, len(wanted))
	for word, id := range wanted {
		names[word] = image.GetE2EImage(id)
	}
	if err := json.NewEncoder(os.Stdout).Encode(names); err != nil {
		fmt.Fprintln(os.Stderr, "images:", err)
		os.Exit(1)
	}
}

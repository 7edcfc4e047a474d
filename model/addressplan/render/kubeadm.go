package render

import (
	"hexapod.dev/model/addressplan"
	"hexapod.dev/model/prefix"
)

// kubeadm writes the configuration of kubeadm for each cluster, or for one host. Kubernetes' own allocation of host prefixes is
// always off: it counts from the first prefix of the cluster, which is kept for roles, and refuses more than 16 bits between
// cluster and host (pkg/controller/nodeipam/ipam/cidrset).
func kubeadm(v view, s Scope) ([]File, error) {
	clusters := v.plan.Clusters
	var host *hostView
	if s.Host != "" {
		h, r, err := v.host(s.Host)
		if err != nil {
			return nil, err
		}
		clusters, host = []addressplan.Cluster{r.cluster}, &h
	}
	var files []File
	for _, c := range clusters {
		f, err := v.kubeadmCluster(c, host)
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	return files, nil
}

// servicesLength is the widest service range that every supported API server takes.
const servicesLength = 108

func (v view) kubeadmCluster(c addressplan.Cluster, host *hostView) (File, error) {
	pods, err := v.plan.ClusterPrefix(c)
	if err != nil {
		return File{}, err
	}
	role, err := v.plan.RolePrefix(c, addressplan.RoleServices)
	if err != nil {
		return File{}, err
	}
	services, err := prefix.Child(role, max(servicesLength, role.Bits()), 0)
	if err != nil {
		return File{}, err
	}
	dns, err := prefix.Join(services, 0, 10) // the tenth, as kubeadm itself counts
	if err != nil {
		return File{}, err
	}
	t := &text{}
	t.line("# kubeadm for cluster %s of fabric %s.", c.Name, v.plan.Name)
	if host != nil {
		t.line("apiVersion: kubeadm.k8s.io/v1beta4\nkind: InitConfiguration\nlocalAPIEndpoint:\n  advertiseAddress: %q", host.parts.Router)
		t.line("nodeRegistration:\n  name: %q\n  kubeletExtraArgs:\n    - name: node-ip\n      value: %q\n---", host.name, host.parts.Router)
	}
	t.line("apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\nclusterName: %q\nnetworking:\n  podSubnet: %q\n  serviceSubnet: %q", c.Name, pods, services)
	t.line("apiServer:\n  extraArgs:\n    - name: bind-address\n      value: \"::\"")
	t.line("controllerManager:\n  extraArgs:")
	t.line("    # Hexapod gives hosts their prefixes: /%d in /%d, rack 0 kept for roles.", v.plan.Lengths.Host, pods.Bits())
	t.line("    - name: allocate-node-cidrs\n      value: \"false\"\n    - name: bind-address\n      value: \"::1\"")
	t.line("scheduler:\n  extraArgs:\n    - name: bind-address\n      value: \"::1\"")
	t.line("---")
	t.line("apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\naddress: \"::\"\nhealthzBindAddress: \"::1\"\nclusterDNS:\n  - %q", dns)
	return File{"kubeadm-" + c.Name + ".yaml", t.String()}, nil
}

package cluster

import (
	"fmt"
	"path/filepath"
	"strings"
)

// service is one program that a node runs for ever.
type service struct {
	Name string   `json:"name"`
	Args []string `json:"args"` // its program first
}

// etcdURL is etcd, which only the API server beside it asks.
const etcdURL = "http://[::1]:2379"

// services of a node, in the order they are started.
func (c *Cluster) services(node string) []service {
	var all []service
	if node == controlPlane {
		all = append(all, c.etcd(), c.apiServer(), c.controllerManager(), c.scheduler())
	}
	all = append(all, service{"containerd", []string{"containerd", "--config", "/etc/kubernetes/containerd.toml"}}, c.kubelet(node))
	if c.Options.KubeProxy {
		all = append(all, service{"kube-proxy", []string{"kube-proxy", "--config=/etc/kubernetes/proxy.yaml"}})
	}
	return all
}

func (c *Cluster) etcd() service {
	const peer = "http://[::1]:2380"
	return service{"etcd", []string{"etcd", "--data-dir=/var/lib/etcd", "--listen-client-urls=" + etcdURL, "--advertise-client-urls=" + etcdURL,
		"--listen-peer-urls=" + peer, "--initial-advertise-peer-urls=" + peer, "--initial-cluster=default=" + peer,
		"--unsafe-no-fsync"}} // what a crash of the machine would lose is a test cluster
}

// key is a file of the cluster's keys and certificates.
func (c *Cluster) key(name string) string { return filepath.Join(c.dir, "pki", name) }

func (c *Cluster) apiServer() service {
	return service{"kube-apiserver", []string{"kube-apiserver", "--bind-address=::", "--secure-port=6443",
		fmt.Sprintf("--advertise-address=%s", c.nodeIPs(controlPlane)[0]),
		"--etcd-servers=" + etcdURL, "--service-cluster-ip-range=" + list(c.serviceNets()), "--allow-privileged",
		"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction",
		"--enable-aggregator-routing", // webhooks are called at the pod, so the control plane needs no Services
		"--client-ca-file=" + c.key("ca.crt"), "--tls-cert-file=" + c.key("apiserver.crt"), "--tls-private-key-file=" + c.key("apiserver.key"),
		"--kubelet-client-certificate=" + c.key("apiserver-kubelet-client.crt"), "--kubelet-client-key=" + c.key("apiserver-kubelet-client.key"),
		"--kubelet-preferred-address-types=InternalIP",
		"--service-account-issuer=https://kubernetes.default.svc." + domain,
		"--service-account-key-file=" + c.key("sa.pub"), "--service-account-signing-key-file=" + c.key("sa.key"),
		"--requestheader-client-ca-file=" + c.key("front-proxy-ca.crt"), "--requestheader-allowed-names=front-proxy-client",
		"--requestheader-username-headers=X-Remote-User", "--requestheader-group-headers=X-Remote-Group", "--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--proxy-client-cert-file=" + c.key("front-proxy-client.crt"), "--proxy-client-key-file=" + c.key("front-proxy-client.key"),
	}}
}

// client are the flags of a component that speaks to the API server and is asked through it.
func (c *Cluster) client(file string) []string {
	conf := c.key(file + ".conf")
	return []string{"--kubeconfig=" + conf, "--authentication-kubeconfig=" + conf, "--authorization-kubeconfig=" + conf,
		"--bind-address=::1", "--leader-elect=false"} // there is one of each
}

func (c *Cluster) controllerManager() service {
	args := append([]string{"kube-controller-manager"}, c.client("controller-manager")...)
	args = append(args, "--use-service-account-credentials", "--root-ca-file="+c.key("ca.crt"), "--service-account-private-key-file="+c.key("sa.key"),
		"--cluster-signing-cert-file="+c.key("ca.crt"), "--cluster-signing-key-file="+c.key("ca.key"),
		"--requestheader-client-ca-file="+c.key("front-proxy-ca.crt"), "--service-cluster-ip-range="+list(c.serviceNets()))
	if c.Options.HostPrefixes == Plan {
		return service{"kube-controller-manager", append(args, "--allocate-node-cidrs=false")}
	}
	args = append(args, "--allocate-node-cidrs", "--cluster-cidr="+list(c.podNets()), fmt.Sprintf("--node-cidr-mask-size-ipv6=%d", c.Options.HostBits))
	if c.dual() {
		args = append(args, "--node-cidr-mask-size-ipv4=24")
	}
	return service{"kube-controller-manager", args}
}

func (c *Cluster) scheduler() service {
	return service{"kube-scheduler", append([]string{"kube-scheduler"}, c.client("scheduler")...)}
}

func (c *Cluster) kubelet(node string) service {
	args := []string{"kubelet", "--config=/etc/kubernetes/kubelet.yaml", "--kubeconfig=/etc/kubernetes/kubelet.conf",
		"--node-ip=" + list(c.nodeIPs(node)), "--hostname-override=" + node}
	if c.Options.Fabric == BGP {
		args = append(args, fmt.Sprintf("--node-labels=%s=%d", rackLabel, c.rack(node)))
	}
	if node == controlPlane {
		args = append(args, "--register-with-taints=node-role.kubernetes.io/control-plane=:NoSchedule")
	}
	return service{"kubelet", args}
}

// path is where the services of a node find programs: ours first, because the machine may have others of the same name.
func (c *Cluster) path() string {
	return strings.Join([]string{c.cache.Bin(), "/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"}, ":")
}

package cluster

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"hexapod.dev/test/cluster/internet"
)

// validity of what a cluster's authorities sign. A cluster lives hours.
const validity = 365 * 24 * time.Hour

// registryCert is the file of the certificate of the registry in the IPv4 Internet.
const registryCert = "registry"

// authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

// pki writes keys, certificates and kubeconfigs to one folder.
type pki struct {
	dir    string
	server string
	ca     authority
}

// subject is one certificate to sign.
type subject struct {
	file, name, org string
	client          bool
	addrs           []netip.Addr
	names           []string
	kubeconfig      bool
}

// makePKI makes the authorities and everything they sign.
func (c *Cluster) makePKI() error {
	p := pki{dir: filepath.Join(c.dir, "pki"), server: c.server()}
	if err := os.MkdirAll(p.dir, 0o700); err != nil {
		return fmt.Errorf("make the folder of keys: %w", err)
	}
	var err error
	if p.ca, err = p.authority("ca", "kubernetes-ca"); err != nil {
		return err
	}
	front, err := p.authority("front-proxy-ca", "front-proxy-ca")
	if err != nil {
		return err
	}
	addrs := append(c.apiServices(), netip.IPv6Loopback())
	addrs = append(addrs, c.nodeIPs(controlPlane)...)
	subjects := []subject{
		{file: "apiserver", name: "kube-apiserver", addrs: addrs, names: []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc." + domain}},
		{file: "apiserver-kubelet-client", name: "kube-apiserver-kubelet-client", org: "system:masters", client: true},
		{file: "admin", name: "kubernetes-admin", org: "system:masters", client: true, kubeconfig: true},
		{file: "controller-manager", name: "system:kube-controller-manager", client: true, kubeconfig: true},
		{file: "scheduler", name: "system:kube-scheduler", client: true, kubeconfig: true},
		{file: "kube-proxy", name: "system:kube-proxy", client: true, kubeconfig: true},
	}
	for _, n := range c.Nodes() {
		subjects = append(subjects, subject{file: "kubelet-" + n, name: "system:node:" + n, org: "system:nodes", client: true, kubeconfig: true})
	}
	if len(c.worldly()) > 0 {
		subjects = append(subjects, subject{file: registryCert, name: internet.Registry, names: []string{internet.Registry}})
	}
	for _, s := range subjects {
		if err := p.sign(p.ca, s); err != nil {
			return fmt.Errorf("make the certificate of %s: %w", s.name, err)
		}
	}
	if err := p.sign(front, subject{file: "front-proxy-client", name: "front-proxy-client", client: true}); err != nil {
		return fmt.Errorf("make the certificate of front-proxy-client: %w", err)
	}
	return p.serviceAccounts()
}

func (p pki) write(name, kind string, der []byte) ([]byte, error) {
	text := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	return text, os.WriteFile(filepath.Join(p.dir, name), text, 0o600)
}

// newKey makes a key and writes it.
func (p pki) newKey(file string) (*ecdsa.PrivateKey, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	text, err := p.write(file+".key", "PRIVATE KEY", der)
	return key, text, err
}

func certificate(name, org string) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(validity),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
	}
	if org != "" {
		t.Subject.Organization = []string{org}
	}
	return t, nil
}

func (p pki) authority(file, name string) (authority, error) {
	fail := func(err error) (authority, error) {
		return authority{}, fmt.Errorf("make the authority %s: %w", name, err)
	}
	key, _, err := p.newKey(file)
	if err != nil {
		return fail(err)
	}
	t, err := certificate(name, "")
	if err != nil {
		return fail(err)
	}
	t.IsCA, t.BasicConstraintsValid = true, true
	t.KeyUsage |= x509.KeyUsageCertSign
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return fail(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return fail(err)
	}
	text, err := p.write(file+".crt", "CERTIFICATE", der)
	if err != nil {
		return fail(err)
	}
	return authority{cert, key, text}, nil
}

func (p pki) sign(by authority, s subject) error {
	key, keyText, err := p.newKey(s.file)
	if err != nil {
		return err
	}
	t, err := certificate(s.name, s.org)
	if err != nil {
		return err
	}
	t.DNSNames = s.names
	t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	if s.client {
		t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	}
	for _, a := range s.addrs {
		t.IPAddresses = append(t.IPAddresses, a.AsSlice())
	}
	der, err := x509.CreateCertificate(rand.Reader, t, by.cert, crypto.PublicKey(key.Public()), by.key)
	if err != nil {
		return err
	}
	certText, err := p.write(s.file+".crt", "CERTIFICATE", der)
	if err != nil || !s.kubeconfig {
		return err
	}
	return p.kubeconfig(s.file, certText, keyText)
}

// kubeconfig writes a client's configuration with all keys inside.
func (p pki) kubeconfig(file string, cert, key []byte) error {
	b := base64.StdEncoding.EncodeToString
	text, err := fill("kubeconfig.yaml", map[string]string{"Server": p.server, "CA": b(p.ca.pem), "Cert": b(cert), "Key": b(key)})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(p.dir, file+".conf"), text, 0o600)
}

// serviceAccounts makes the key that signs the tokens of pods.
func (p pki) serviceAccounts() error {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return fmt.Errorf("make the key of service accounts: %w", err)
	}
	private, err1 := x509.MarshalPKCS8PrivateKey(key)
	public, err2 := x509.MarshalPKIXPublicKey(key.Public())
	_, err3 := p.write("sa.key", "PRIVATE KEY", private)
	_, err4 := p.write("sa.pub", "PUBLIC KEY", public)
	return errors.Join(err1, err2, err3, err4)
}

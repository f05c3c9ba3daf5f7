package stage

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// parsePorts reads NUMBER or FIRST-LAST with a protocol. Under the rules of a
// Dockerfile it takes port 0 and the forms of docker run too, whose host part means
// nothing here.
func parsePorts(spec string, rules *DockerRules) ([]string, error) {
	first := uint64(1)
	if rules != nil {
		first = 0
		host, container, err := publishedPort(spec)
		if err != nil {
			return nil, fmt.Errorf("port %q: %w", spec, err)
		}
		if err := checkHostPorts(host, container); err != nil {
			return nil, fmt.Errorf("port %q: %w", spec, err)
		}
		spec = container
	}
	numbers, proto, _ := strings.Cut(spec, "/")
	switch proto = strings.ToLower(proto); proto {
	case "":
		proto = "tcp"
	case "tcp", "udp", "sctp":
	default:
		return nil, fmt.Errorf("port %q: protocol %q is not tcp, udp or sctp", spec, proto)
	}
	if host := strings.LastIndex(numbers, ":"); host >= 0 {
		return nil, fmt.Errorf("port %q: EXPOSE takes container ports only, write %q", spec, numbers[host+1:]+"/"+proto)
	}
	lo, hi, ok := portRange(numbers)
	if !ok || lo < first {
		return nil, fmt.Errorf("port %q: want NUMBER or FIRST-LAST between %d and 65535", spec, first)
	}
	var ports []string
	for p := lo; p <= hi; p++ {
		ports = append(ports, strconv.FormatUint(p, 10)+"/"+proto)
	}
	return ports, nil
}

func portRange(numbers string) (lo, hi uint64, ok bool) {
	first, last, isRange := strings.Cut(numbers, "-")
	if !isRange {
		last = first
	}
	lo, err1 := strconv.ParseUint(first, 10, 16)
	hi, err2 := strconv.ParseUint(last, 10, 16)
	return lo, hi, err1 == nil && err2 == nil && lo <= hi
}

// publishedPort splits [IP:][HOST:]CONTAINER.
func publishedPort(spec string) (host, container string, err error) {
	parts := strings.Split(spec, ":")
	n := len(parts)
	container = parts[n-1]
	if n > 1 {
		host = parts[n-2]
	}
	if n > 2 {
		ip := strings.Join(parts[:n-2], ":")
		if inside, ok := strings.CutPrefix(ip, "["); ok {
			if ip, ok = strings.CutSuffix(inside, "]"); !ok {
				return "", "", fmt.Errorf("IP address %q has no closing bracket", inside)
			}
		}
		if _, e := netip.ParseAddr(ip); ip != "" && e != nil {
			return "", "", fmt.Errorf("%q is no IP address", ip)
		}
	}
	return host, container, nil
}

// checkHostPorts finds a host part that docker run would refuse.
func checkHostPorts(host, container string) error {
	if host == "" {
		return nil
	}
	numbers, _, _ := strings.Cut(container, "/")
	lo, hi, ok := portRange(host)
	clo, chi, cok := portRange(numbers)
	if !ok {
		return fmt.Errorf("host port %q is not NUMBER or FIRST-LAST", host)
	}
	if cok && chi != clo && hi-lo != chi-clo {
		return errors.New("the ranges of host and container have different lengths")
	}
	return nil
}

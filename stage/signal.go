package stage

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// signals are the names of signal(7), which hold for Linux images whatever
// system builds them.
var signalNames = strings.Fields("ABRT ALRM BUS CHLD CLD CONT FPE HUP ILL INT IO IOT KILL PIPE POLL PROF PWR QUIT SEGV STKFLT STOP SYS TERM TRAP TSTP TTIN TTOU URG USR1 USR2 VTALRM WINCH XCPU XFSZ")

func checkSignal(s string) error {
	if n, err := strconv.Atoi(s); err == nil {
		if n < 1 || n > 64 {
			return fmt.Errorf("signal %d is not between 1 and 64", n)
		}
		return nil
	}
	name := strings.TrimPrefix(strings.ToUpper(s), "SIG")
	if slices.Contains(signalNames, name) || isRealtime(name) {
		return nil
	}
	return fmt.Errorf("unknown signal %q; want a name as in SIGTERM, or a number", s)
}

func isRealtime(name string) bool {
	for prefix, sign := range map[string]string{"RTMIN": "+", "RTMAX": "-"} {
		rest, ok := strings.CutPrefix(name, prefix)
		if !ok {
			continue
		}
		if rest == "" {
			return true
		}
		n, err := strconv.Atoi(strings.TrimPrefix(rest, sign))
		return err == nil && strings.HasPrefix(rest, sign) && n >= 1 && n <= 15
	}
	return false
}

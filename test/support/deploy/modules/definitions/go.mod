// The definitions of the resources ServiceMonitor, ScaledObject and HTTPRoute. No code of these modules is compiled.
module tenure.local/definitions

go 1.26.0

require (
	github.com/kedacore/keda/v2 v2.18.0
	github.com/prometheus-operator/prometheus-operator v0.85.0
	sigs.k8s.io/gateway-api v1.6.1
)

/** Limits of the artifact of a TensorFlow.js network, so that reading it cannot fill the memory. What may serve is up to the policy of its release. */
export const networkLimits = {
  topologyBytes: 1_048_576,
  weightBytes: 64 * 1_048_576,
  layers: 256,
  units: 16_384,
} as const

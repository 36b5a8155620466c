/**
 * Limits the artifact of a TensorFlow.js network, so that reading it cannot fill the memory. The release policy may set lower limits for
 * serving.
 */
export const networkLimits = {
  topologyBytes: 1_048_576,
  weightBytes: 64 * 1_048_576,
  layers: 256,
  units: 16_384,
} as const

/** Decides which graphs answer small requests in their turn of the event loop, by the times that their process has measured. */
import type { RunCost } from '../../../runtime/runtime.ts'
import type { OnnxLayout } from '../layout.ts'

/**
 * How long a request may take in its turn, in milliseconds. A round trip to the process takes 0.1 ms, and the replica can serve other
 * requests meanwhile.
 */
export const maxTurnMs = 1
/**
 * The largest file, and the longest time in which ONNX Runtime may load it, because loading blocks the event loop: 16 MiB of weights take
 * 20 ms, the optimizations of a transformer of two blocks 70 ms, and the first graph of a process another 40 ms.
 */
const maxTurnBytes = 16_777_216
const maxTurnLoadMs = 150

/** Returns whether small requests to a graph may be answered in their turn. */
export const answersInTurn = (
  { hasSteadyTime }: Pick<OnnxLayout, 'hasSteadyTime'>,
  bytes: Uint8Array,
  cost: RunCost | undefined,
): cost is RunCost =>
  cost !== undefined &&
  hasSteadyTime &&
  bytes.byteLength <= maxTurnBytes &&
  cost.loadMs <= maxTurnLoadMs &&
  cost.callMs <= maxTurnMs

/**
 * Tells whether the time and memory of a graph depend on the number of its rows and the length of their texts alone, so that a measurement
 * bounds them. The values of a row must not decide how large a value of the graph is, or what is computed.
 */
import type { OnnxGraph, OnnxNode } from './graph.ts'

/** Operators that compute nested graphs or give as many values as a row decides. */
const unsteady = new Set(
  'If Loop Scan SequenceMap NonZero Compress Unique NonMaxSuppression StringSplit'.split(' '),
)
/** Operators whose inputs give sizes, or that change it by inputs other than their first. */
const sizedByAll = new Set(
  'Range ConstantOfShape HannWindow HammingWindow BlackmanWindow MelWeightMatrix'.split(' '),
)
const sizedByOthers =
  /^(Reduce\w+|Expand|Tile|Resize|Upsample|Pad|OneHot|Reshape|Slice|Split|SplitToSequence|TopK|Squeeze|Unsqueeze|CenterCropPad|Col2Im|AffineGrid|MaxUnpool|DFT|STFT|RNN|GRU|LSTM)$/
/** The operators of com.microsoft whose sizes are known to depend on their shapes. */
const steadyOfMicrosoft =
  /^(Tokenizer|FusedMatMul|FusedGemm|Gelu|FastGelu|BiasGelu|QuickGelu|SkipLayerNormalization|Attention|MultiHeadAttention|QAttention|QGemm|QLinear\w+|DynamicQuantizeMatMul|MatMulIntegerToFloat)$/

/** What the values of a row decide about a value of the graph. */
const [nothing, numbers, sizes] = [0, 1, 2] as const
type Decided = typeof nothing | typeof numbers | typeof sizes

export function hasSteadyTime({
  nodes,
  inputs,
  initializers,
}: Pick<OnnxGraph, 'nodes' | 'inputs' | 'initializers'>): boolean {
  const decided = new Map<string, Decided>([
    ['', nothing],
    ...[...initializers.keys()].map((name) => [name, nothing] as const),
    ...inputs.map(({ name }) => [name, numbers] as const),
  ])
  // ONNX Runtime sorts the nodes; a value that a later node makes counts as one that a row decides.
  const decidedOf = (names: readonly string[]): Decided =>
    names.reduce<Decided>((most, name) => Math.max(most, decided.get(name) ?? sizes) as Decided, nothing)
  for (const node of nodes) {
    if (isUnsteady(node) || decidedOf(sizingInputs(node)) !== nothing) return false
    const most = decidedOf(node.inputs)
    for (const output of node.outputs) decided.set(output, decidedBy(node, most))
  }
  return true
}

const isUnsteady = ({ op, domain }: OnnxNode): boolean =>
  domain === 'com.microsoft' ? !steadyOfMicrosoft.test(op) : unsteady.has(op)

function sizingInputs({ op, inputs }: OnnxNode): readonly string[] {
  if (sizedByAll.has(op)) return inputs
  return sizedByOthers.test(op) ? inputs.slice(1) : []
}

function decidedBy({ op }: OnnxNode, most: Decided): Decided {
  if (op === 'Shape' || op === 'Size') return most === sizes ? numbers : nothing
  // As many columns as the longest text has tokens.
  return op === 'Tokenizer' && most !== nothing ? sizes : most
}

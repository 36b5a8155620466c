/**
 * Reads an ONNX file as data: its graph, inputs and outputs, by the field numbers of onnx.proto. A file that refers to other files, defines
 * its own operators or exceeds a limit is refused here, before ONNX Runtime reads it.
 */
import { refuse } from '../../errors.ts'
import { elementType, elementTypeName, storedElements } from './element-types.ts'
import { countNumbers, eachField, numbersOf, spanOf, wireText, type WireSpan } from './wire.ts'

/** Limits of a file, so that no file fills the memory or blocks its reader. */
export const onnxLimits = {
  fileBytes: 67_108_864,
  /** The maximum number of nodes, including nested graphs. */
  nodes: 10_000,
  tensors: 10_000,
  attributes: 100_000,
  /** The maximum number of inputs and outputs of all nodes. */
  names: 200_000,
  /** The maximum number of fields of the file and its graphs, such as opsets, metadata and value_info, which ONNX Runtime reads. */
  entries: 300_000,
  columns: 10_000,
  outputs: 1_000,
  depth: 8,
} as const

/** The operator versions that ONNX Runtime 1.30 supports. */
const opsets: ReadonlyMap<string, readonly [oldest: number, newest: number]> = new Map([
  ['ai.onnx', [7, 26]],
  ['ai.onnx.ml', [1, 5]],
  // Of these, ONNX Runtime refuses those that it does not have.
  ['com.microsoft', [1, 1]],
])

/** Operators that are refused although ONNX Runtime supports them, each with the reason. */
const refusedOperators: ReadonlyMap<string, string> = new Map([
  ...[
    'RandomNormal',
    'RandomNormalLike',
    'RandomUniform',
    'RandomUniformLike',
    'Multinomial',
    'Bernoulli',
  ].map((name) => [name, 'its answers are random'] as const),
  ['Loop', 'it may never end: export it unrolled (Keras: unroll=True)'],
  ...['BeamSearch', 'GreedySearch', 'Sampling', 'WhisperBeamSearch'].map(
    (name) => [name, 'it generates texts, and one matrix of numbers is read'] as const,
  ),
  [
    'ZipMap',
    "it gives dictionaries: convert the model with zipmap=False; save a CatBoost with format='json'",
  ],
])

export interface OnnxNode {
  op: string
  domain: string
  inputs: string[]
  outputs: string[]
  attributes: ReadonlyMap<string, WireSpan>
}

export interface OnnxValue {
  name: string
  /** The type of the elements, as in TensorProto; undefined when the value is not a tensor. */
  type: number | undefined
  /** The dimensions, undefined for one without a number; undefined as a whole when the file does not state them. */
  dims: readonly (number | undefined)[] | undefined
}

export interface OnnxGraph {
  /** The program that wrote the file, with its version. */
  producer: string
  nodes: readonly OnnxNode[]
  /** The tensors of the file by name, in the format of `readConstant`. */
  initializers: ReadonlyMap<string, WireSpan>
  /** The inputs without initializers. */
  inputs: readonly OnnxValue[]
  outputs: readonly OnnxValue[]
  /** The names of the operators, also of those in nested graphs. */
  operators: ReadonlySet<string>
}

export const isOnnx = (bytes: Uint8Array): boolean =>
  // The version of the format comes first, as every library writes it, from 3 on for the operators that are read. The next field has a number.
  bytes[0] === 8 && bytes[1]! > 2 && bytes[1]! < 32 && bytes[2] !== 0

/** Reads a file. Throws `artifact_invalid` with what is wrong. */
export function readGraph(bytes: Uint8Array): OnnxGraph {
  if (bytes.byteLength > onnxLimits.fileBytes)
    refuse(`the ONNX file has ${bytes.byteLength} bytes, more than ${onnxLimits.fileBytes}`)
  const file: WireSpan = { bytes, from: 0, to: bytes.byteLength }
  let graph: WireSpan | undefined
  let [producer, version] = ['', '']
  const versions = new Map<string, number>()
  const operators = new Set<string>()
  const counts = { nodes: 0, tensors: 0, attributes: 0, names: 0, entries: 0, operators }
  eachField(file, (field) => {
    count(counts, 'entries')
    const content = spanOf(bytes, field)
    if (field.number === 2) producer = wireText(content)
    else if (field.number === 3) version = wireText(content)
    else if (field.number === 7) graph = only(graph, content, 'graph')
    else if (field.number === 8) readOpset(content, versions)
    else if (field.number === 20) refuse('the ONNX file holds a training loop: save it for inference')
    else if (field.number === 25)
      refuse('the ONNX file defines functions of its own: inline them (onnx.inliner.inline_local_functions)')
  })
  if (graph === undefined) refuse('the ONNX file has no graph')
  const found = graphOf(graph, counts, 0)
  for (const node of found.nodes) expectVersion(node, versions)
  return { producer: `${producer} ${version}`.trim(), ...found, operators }
}

type Limited = 'nodes' | 'tensors' | 'attributes' | 'names' | 'entries'
type Counts = Record<Limited, number> & { operators: Set<string> }

function count(counts: Counts, what: Limited): void {
  if (++counts[what] > onnxLimits[what])
    refuse(`the ONNX file has more than ${onnxLimits[what]} ${what} (initializers are tensors)`)
}

/** Refuses a message that occurs twice, because readers interpret it differently. */
const only = (before: WireSpan | undefined, content: WireSpan, what: string): WireSpan =>
  before === undefined ? content : refuse(`the ONNX file has a second ${what} in one place`)

function readOpset(set: WireSpan, versions: Map<string, number>): void {
  let [domain, version] = ['', 0]
  eachField(set, (field) => {
    if (field.number === 1) domain = wireText(spanOf(set.bytes, field))
    else if (field.number === 2) version = field.value
  })
  if (domain === '') domain = 'ai.onnx'
  const known = opsets.get(domain)
  // Converters list domains that no operator of the graph uses. An operator of an unknown domain is refused on its own.
  if (known === undefined) return
  if ((versions.get(domain) ?? version) !== version)
    refuse(`the ONNX file uses operators of two versions of ${domain}: convert it again`)
  versions.set(domain, version)
  const [oldest, newest] = known
  if (!(version >= oldest && version <= newest))
    refuse(
      `the ONNX file uses operators of version ${version} of ${domain}; ${oldest} to ${newest} are read: convert with target_opset`,
    )
}

/** Refuses trees of a version that ONNX Runtime refuses. It uses the newest version of a domain that the file does not list. */
function expectVersion({ op, domain }: OnnxNode, versions: ReadonlyMap<string, number>): void {
  const version = versions.get(domain) ?? newestTrees
  if (/^TreeEnsemble(Classifier|Regressor)$/.test(op) && version >= newestTrees)
    refuse(
      `the operator ${op} has no version ${version} of ${domain}: convert with target_opset={'': 18, 'ai.onnx.ml': 3}`,
    )
  if (op === 'TreeEnsemble' && version < newestTrees)
    refuse(`the operator ${op} belongs to version ${newestTrees} of ${domain}, the ONNX file to ${version}`)
}
/** The version of ai.onnx.ml from which all trees have one operator. */
const newestTrees = 5

function graphOf(graph: WireSpan, counts: Counts, depth: number): Omit<OnnxGraph, 'producer' | 'operators'> {
  if (depth > onnxLimits.depth) refuse(`the ONNX file nests graphs more than ${onnxLimits.depth} deep`)
  const nodes: OnnxNode[] = []
  const inputs: OnnxValue[] = []
  const outputs: OnnxValue[] = []
  const initializers = new Map<string, WireSpan>()
  eachField(graph, (field) => {
    count(counts, 'entries')
    const content = spanOf(graph.bytes, field)
    if (field.number === 1) nodes.push(nodeOf(content, counts, depth))
    else if (field.number === 5) {
      const name = checkTensor(content, counts)
      if (name !== '' && initializers.has(name))
        refuse(`the ONNX file has the tensor ${JSON.stringify(name)} twice`)
      initializers.set(name, content)
    } else if (field.number === 11) inputs.push(valueOf(content))
    else if (field.number === 12) outputs.push(valueOf(content))
    else if (field.number === 15) refuseSparse()
    if (inputs.length > onnxLimits.columns || outputs.length > onnxLimits.outputs)
      refuse(
        `the ONNX file has more than ${onnxLimits.columns} inputs or more than ${onnxLimits.outputs} outputs`,
      )
  })
  expectOneMaker(nodes)
  for (const node of nodes) expectNoTraining(node, initializers)
  return { nodes, initializers, inputs: inputs.filter(({ name }) => !initializers.has(name)), outputs }
}

/** Refuses two nodes with the same output, because readers differ in which one they use. */
function expectOneMaker(nodes: readonly OnnxNode[]): void {
  const made = new Set<string>()
  for (const name of nodes.flatMap(({ outputs }) => outputs)) {
    if (name !== '' && made.has(name)) refuse(`the ONNX file makes the value ${JSON.stringify(name)} twice`)
    made.add(name)
  }
}

/** Refuses a Dropout node that is switched to training. */
function expectNoTraining({ op, inputs }: OnnxNode, initializers: ReadonlyMap<string, WireSpan>): void {
  const name = inputs[2] ?? ''
  if (op !== 'Dropout' || name === '') return
  const tensor = initializers.get(name)
  if (tensor === undefined || !isFalse(tensor))
    refuse(
      'the operator Dropout is set to training, where its answers are random: export the model for inference',
    )
}

function isFalse(tensor: WireSpan): boolean {
  let sum = numbersOf(tensor, 5, 0).reduce((total, value) => total + value, 0)
  eachField(tensor, (field) => {
    if (field.number === 9) for (const byte of tensor.bytes.subarray(field.from, field.to)) sum += byte
  })
  return sum === 0
}

const refuseSparse = () => refuse('the ONNX file has sparse tensors: save them as dense ones')

function nodeOf(node: WireSpan, counts: Counts, depth: number): OnnxNode {
  count(counts, 'nodes')
  const found = { op: '', domain: '', inputs: [] as string[], outputs: [] as string[] }
  const attributes = new Map<string, WireSpan>()
  eachField(node, (field) => {
    const content = spanOf(node.bytes, field)
    if (field.number === 1 || field.number === 2) count(counts, 'names')
    if (field.number === 1) found.inputs.push(wireText(content))
    else if (field.number === 2) found.outputs.push(wireText(content))
    else if (field.number === 4) found.op = wireText(content)
    else if (field.number === 7) found.domain = wireText(content)
    else if (field.number === 5) {
      const name = checkAttribute(content, counts, depth)
      attributes.set(name, only(attributes.get(name), content, `attribute ${name}`))
    }
  })
  if (found.domain === '') found.domain = 'ai.onnx'
  const { op, domain } = found
  if (!opsets.has(domain))
    refuse(`the operator ${op} belongs to ${domain}; those of ${[...opsets.keys()].join(', ')} are read`)
  counts.operators.add(op)
  const why = refusedOperators.get(op)
  if (why !== undefined) refuse(`the operator ${op} is refused: ${why}`)
  return { ...found, attributes }
}

/** Checks the tensors and graphs of an attribute, and returns its name. */
function checkAttribute(attribute: WireSpan, counts: Counts, depth: number): string {
  count(counts, 'attributes')
  let name = ''
  let [tensor, graph]: (WireSpan | undefined)[] = []
  eachField(attribute, (field) => {
    const content = spanOf(attribute.bytes, field)
    if (field.number === 1) name = wireText(content)
    else if (field.number === 5) tensor = only(tensor, content, 'tensor')
    else if (field.number === 6) graph = only(graph, content, 'graph')
    else if (field.number === 10) checkTensor(content, counts)
    else if (field.number === 11) graphOf(content, counts, depth + 1)
    else if (field.number === 22 || field.number === 23) refuseSparse()
  })
  if (tensor !== undefined) checkTensor(tensor, counts)
  if (graph !== undefined) graphOf(graph, counts, depth + 1)
  return name
}

const stringType = elementType('string')
const maxDims = 32

/** Checks that a tensor is complete and stored in this file, and returns its name. */
function checkTensor(tensor: WireSpan, counts: Counts): string {
  count(counts, 'tensors')
  let [name, type, raw, strings, isExternal] = ['', 0, -1, 0, false]
  eachField(tensor, (field) => {
    const content = spanOf(tensor.bytes, field)
    if (field.number === 2) type = field.value
    else if (field.number === 3) refuse('the ONNX file has a tensor in parts')
    else if (field.number === 6) strings++
    else if (field.number === 8) name = wireText(content)
    else if (field.number === 9) raw = content.to - content.from
    else if (field.number === 13) isExternal = true
    else if (field.number === 14 && field.value !== 0) isExternal = true
  })
  if (isExternal)
    refuse(
      `the tensor ${JSON.stringify(name)} lies in another file, which is not read: save the model in one file (PyTorch: external_data=False)`,
    )
  if (countNumbers(tensor, 1, 0) > maxDims)
    refuse(`the tensor ${JSON.stringify(name)} has more than ${maxDims} dimensions`)
  const dims = numbersOf(tensor, 1, 0)
  const size = dims.reduce((product, dim) => product * dim, 1)
  if (!dims.every((dim) => dim >= 0) || size > onnxLimits.fileBytes)
    refuse(`the tensor ${JSON.stringify(name)} has the shape [${dims.join(', ')}]`)
  const elements = storedElements[type]
  if (elements === undefined && type !== stringType)
    refuse(`the tensor ${JSON.stringify(name)} is of the type ${elementTypeName(type)}, which is not read`)
  let [held, wanted] = [strings, size]
  if (elements !== undefined) {
    const { bits, field, wire, inOne } = elements
    held = raw >= 0 ? raw : countNumbers(tensor, field, wire)
    wanted = Math.ceil(raw >= 0 ? (size * bits) / 8 : size / inOne)
  }
  if (held !== wanted)
    refuse(
      `the tensor ${JSON.stringify(name)} holds ${held} ${raw >= 0 && elements ? 'bytes' : 'values'} for the shape [${dims.join(', ')}]`,
    )
  return name
}

/** Reads the type of the elements and the shape of a tensor. */
function valueOf(value: WireSpan): OnnxValue {
  let name = ''
  let type: number | undefined
  let dims: (number | undefined)[] | undefined
  eachField(value, (field) => {
    const content = spanOf(value.bytes, field)
    if (field.number === 1) name = wireText(content)
    else if (field.number === 2)
      eachField(content, (kind) => {
        if (kind.number !== 1) return
        eachField(spanOf(value.bytes, kind), (part) => {
          if (part.number === 1) type = part.value
          else if (part.number === 2) dims = shapeOf(spanOf(value.bytes, part))
        })
      })
  })
  return { name, type, dims }
}

function shapeOf(shape: WireSpan): (number | undefined)[] {
  const dims: (number | undefined)[] = []
  eachField(shape, (field) => {
    let size: number | undefined
    eachField(spanOf(shape.bytes, field), (part) => {
      // Converters write 0 for an unknown dimension.
      if (part.number === 1 && part.value > 0) size = part.value
    })
    if (field.number === 1 && dims.push(size) > maxDims)
      refuse(`the ONNX file has a value of more than ${maxDims} dimensions`)
  })
  return dims
}

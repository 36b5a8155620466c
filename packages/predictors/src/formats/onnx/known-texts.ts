/**
 * Collects the texts that a graph knows, such as the categories of its encoders: some of each list, so that rows with such texts can be
 * tried, and all that belong to an input, so that rows of which none is known can be refused.
 */
import { attributesOf } from './attributes.ts'
import { elementType } from './element-types.ts'
import type { OnnxGraph, OnnxNode } from './graph.ts'
import { eachField, spanOf, wireText, type WireSpan } from './wire.ts'

/** Lists of texts that a graph does not compare with its inputs: its answers, and the kinds of the nodes of trees. */
const otherLists = new Set(['classlabels_strings', 'values_strings', 'values_tensor', 'nodes_modes'])
const limits = { lists: 100, texts: 4, bytes: 200 }
type TextLimits = Pick<typeof limits, 'texts' | 'bytes'>
const [stringType, dataField] = [elementType('string'), 6]
const [tensorField, textList] = [5, 9]

/** Returns the first texts of each list: those of operators, in their order, then those of tensors. */
export function knownTextsOf({ nodes, initializers }: Pick<OnnxGraph, 'nodes' | 'initializers'>): string[][] {
  const lists: string[][] = []
  const keep = (texts: string[]): void => {
    if (texts.length > 0 && lists.length < limits.lists) lists.push(texts)
  }
  for (const node of nodes) eachList(node, limits, keep)
  for (const tensor of initializers.values()) keep(textsOfTensor(tensor, limits))
  return lists
}

/** Operators that give the texts of their inputs unchanged. */
const passing = new Set(
  'Identity Concat Gather ArrayFeatureExtractor Split Slice Reshape Flatten Squeeze Unsqueeze Transpose Where'.split(
    ' ',
  ),
)
/** Operators that compare texts with their lists, and do not tell the others apart. */
const encoders = new Set(['OneHotEncoder', 'LabelEncoder'])
/** Operators whose nested graphs read values that the operator does not name. */
const nesting = new Set(['If', 'Scan', 'SequenceMap'])

/**
 * Returns a function that gives the texts of an input which encoders know; with those of other inputs, where the graph joins columns before
 * it encodes them. Undefined for an input that an operator of another kind reads, because it may change the texts.
 */
export const textsByInput = (graph: Ends): ((input: string) => ReadonlySet<string> | undefined) =>
  knownByInput(graph, allTextsOf, passing)

/** Returns a function that gives the whole numbers of an input which encoders know, in the same way. */
export const numbersByInput = (graph: Ends): ((input: string) => ReadonlySet<number> | undefined) =>
  knownByInput(graph, allNumbersOf, new Set([...passing, 'Cast']))

type Ends = Pick<OnnxGraph, 'nodes' | 'outputs'>

function knownByInput<Known extends string | number>(
  { nodes, outputs }: Ends,
  knownOf: (node: OnnxNode) => ReadonlySet<Known>,
  passes: ReadonlySet<string>,
): (input: string) => ReadonlySet<Known> | undefined {
  if (nodes.some(({ op }) => nesting.has(op))) return () => undefined
  const readers = new Map<string, OnnxNode[]>()
  for (const node of nodes)
    for (const name of new Set(node.inputs)) {
      const list = readers.get(name)
      if (list === undefined) readers.set(name, [node])
      else list.push(node)
    }
  const found = new Map<string, ReadonlySet<Known> | undefined>(outputs.map(({ name }) => [name, undefined]))
  const everyOf = (value: string): ReadonlySet<Known> | undefined => {
    if (found.has(value)) return found.get(value)
    // Ends a cycle, which ONNX Runtime refuses.
    found.set(value, undefined)
    const parts = (readers.get(value) ?? []).flatMap((node) =>
      encoders.has(node.op) ? [knownOf(node)] : passes.has(node.op) ? node.outputs.map(everyOf) : [undefined],
    )
    const all = parts.length === 1 ? parts[0] : unionOf(parts)
    found.set(value, all)
    return all
  }
  return everyOf
}

function unionOf<Known>(parts: readonly (ReadonlySet<Known> | undefined)[]): ReadonlySet<Known> | undefined {
  const all = new Set<Known>()
  for (const part of parts) {
    if (part === undefined) return undefined
    for (const each of part) all.add(each)
  }
  return all
}

function allNumbersOf(node: OnnxNode): Set<number> {
  const attributes = attributesOf(node)
  return new Set(['cats_int64s', 'keys_int64s'].flatMap((name) => [...attributes.longs(name)]))
}

function allTextsOf(node: OnnxNode): Set<string> {
  const all = new Set<string>()
  eachList(node, { texts: Infinity, bytes: Infinity }, (texts) => {
    for (const text of texts) all.add(text)
  })
  return all
}

function eachList({ attributes }: OnnxNode, most: TextLimits, visit: (texts: string[]) => void): void {
  for (const [name, attribute] of attributes) {
    if (otherLists.has(name)) continue
    visit(textsIn(attribute, textList, most))
    eachField(attribute, (field) => {
      if (field.number === tensorField) visit(textsOfTensor(spanOf(attribute.bytes, field), most))
    })
  }
}

function textsOfTensor(tensor: WireSpan, most: TextLimits): string[] {
  let type = 0
  eachField(tensor, (field) => {
    if (field.number === 2) type = field.value
  })
  return type === stringType ? textsIn(tensor, dataField, most) : []
}

function textsIn(message: WireSpan, number: number, most: TextLimits): string[] {
  const texts: string[] = []
  eachField(message, (field) => {
    if (field.number !== number || texts.length === most.texts) return
    if (field.to - field.from <= most.bytes) texts.push(wireText(spanOf(message.bytes, field)))
  })
  return texts
}

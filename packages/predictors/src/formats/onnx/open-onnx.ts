/** Opens an ONNX file. A graph of trees becomes a forest, and one of dense layers a network. Every other graph needs ONNX Runtime. */
import { refuse } from '../../errors.ts'
import type { Network } from '../../network/layers-model.ts'
import { buildForest, type Forest, type TreeInput } from '../trees/forest.ts'
import type { LinkFunction } from '../trees/links.ts'
import { attributesOf } from './attributes.ts'
import { networkOfGraph } from './dense-graph.ts'
import { readGraph, type OnnxGraph, type OnnxNode } from './graph.ts'
import { onnxLayoutOf, type OnnxLayout } from './layout.ts'
import { classLabels, readEnsemble } from './tree-ensemble.ts'

export interface OnnxFile {
  /** `ONNX` and the program that wrote the file. */
  library: string
  layout: OnnxLayout
  /** Present for a graph of trees. */
  forest?: Forest
  /** Present for a graph of dense layers. */
  network?: Network
  /** The classes of the outputs, if the classifier at the end of the graph names them. */
  classes?: readonly string[]
}

/** Opens a file. Throws `artifact_invalid` with what is wrong, before ONNX Runtime reads the file. */
export const openOnnx = (bytes: Uint8Array): OnnxFile => openGraph(readGraph(bytes))

export function openGraph(graph: OnnxGraph): OnnxFile {
  const layout = onnxLayoutOf(graph)
  const library = `ONNX${graph.producer === '' ? '' : ` of ${graph.producer.slice(0, 100)}`}`
  const makers = new Map(graph.nodes.flatMap((node) => node.outputs.map((output) => [output, node] as const)))
  // Trees and dense layers take matrices; the operators before them may read the dimensions of another tensor otherwise.
  const isFlat = layout.inputs.every(({ shape }) => shape === undefined)
  const forest = isFlat ? treesOf({ makers, layout, library }) : undefined
  const network = isFlat && forest === undefined ? networkOfGraph(graph, makers, layout) : undefined
  return { library, layout, classes: classesOf(layout.output, makers), forest, network }
}

/** The columns of the inputs that make up a value of the graph unchanged. */
interface Source {
  columns: number[]
  isDouble: boolean
}

const [single, double] = [1, 11]

function treesOf({
  makers,
  layout,
  library,
}: {
  makers: Makers
  layout: OnnxLayout
  library: string
}): Forest | undefined {
  // Trees number the columns by their inputs, and texts are not inputs.
  if (layout.columns.some(({ isText }) => isText === true)) return undefined
  const tail = tailOf(layout.output, makers, treeOperators)
  if (tail === undefined) return undefined
  const { node, normalizes } = tail
  const source = sourceOf(node.inputs[0] ?? '', { makers, layout, depth: 0 })
  if (source === undefined) return undefined
  const ensemble = readEnsemble(node, source.isDouble)
  if (ensemble === undefined) return undefined
  const { width, outputs, scale, offsets, link } = ensemble
  const isWhole =
    source.columns.every((column, at) => column === at) && source.columns.length === layout.columns.length
  const trees = isWhole ? ensemble.trees : ensemble.trees.map((tree) => withColumns(tree, source.columns))
  return buildForest({
    library,
    columns: layout.columns.map(({ name }) => ({ name })),
    trees,
    width,
    starts: new Float64Array(outputs),
    scale,
    offsets,
    single: !source.isDouble,
    link: normalizes ? normalized(link) : link,
  })
}

const treeOperators = new Set(['TreeEnsembleClassifier', 'TreeEnsembleRegressor', 'TreeEnsemble'])
const classifiers = new Set(['TreeEnsembleClassifier', 'LinearClassifier', 'SVMClassifier'])

function classesOf(output: string, makers: Makers): string[] | undefined {
  const tail = tailOf(output, makers, classifiers)
  if (tail === undefined) return undefined
  const attributes = attributesOf(tail.node)
  const classes = classLabels(attributes)
  // ONNX Runtime answers the second score with what its memory holds.
  if (
    tail.node.op === 'LinearClassifier' &&
    attributes.text('post_transform') === 'PROBIT' &&
    classes.length === 2 &&
    attributes.count('intercepts') === 1
  )
    refuse('the linear classifier gives one PROBIT score for two classes, of which the second is not defined')
  return classes.length === 0 ? undefined : classes
}

type Makers = ReadonlyMap<string, OnnxNode>

/** Returns the operator, one of `ends`, whose scores an output returns, either unchanged or normalized. */
function tailOf(
  output: string,
  makers: Makers,
  ends: ReadonlySet<string>,
): { node: OnnxNode; normalizes: boolean } | undefined {
  let name = output
  let normalizes = false
  for (let step = 0; step < 10; step++) {
    const node = makers.get(name)
    if (node === undefined) return undefined
    if (ends.has(node.op)) {
      // The first output of a classifier is its labels.
      const place = classifiers.has(node.op) ? 1 : 0
      return node.outputs[place] === name ? { node, normalizes } : undefined
    }
    const attributes = attributesOf(node)
    if (node.op === 'Normalizer' && attributes.text('norm') === 'L1') normalizes = true
    else if (!(node.op === 'Identity' || (node.op === 'Cast' && isFloat(attributes.whole('to')))))
      return undefined
    name = node.inputs[0] ?? ''
  }
  return undefined
}

const isFloat = (type: number | undefined): boolean => type === single || type === double

/** Returns the columns of a value; undefined when the value is computed. */
function sourceOf(
  name: string,
  context: { makers: Makers; layout: OnnxLayout; depth: number },
): Source | undefined {
  const { makers, layout, depth } = context
  let from = 0
  for (const input of layout.inputs) {
    if (input.name === name) {
      if (input.type !== 'float32' && input.type !== 'float64') return undefined
      const first = from
      return {
        columns: Array.from({ length: input.width }, (_, at) => first + at),
        isDouble: input.type === 'float64',
      }
    }
    from += input.width
  }
  const node = makers.get(name)
  if (node === undefined || depth > 10) return undefined
  const attributes = attributesOf(node)
  const inner = (input = ''): Source | undefined => sourceOf(input, { ...context, depth: depth + 1 })
  if (node.op === 'Identity') return inner(node.inputs[0])
  if (node.op === 'Cast') {
    const found = inner(node.inputs[0])
    const to = attributes.whole('to')
    if (found === undefined || !isFloat(to)) return undefined
    // Numbers that were rounded to 32 bits before are not doubles again.
    if (to === double && !found.isDouble) return undefined
    return { ...found, isDouble: to === double }
  }
  if (node.op !== 'Concat' || ![1, -1].includes(attributes.whole('axis') ?? 0)) return undefined
  const columns: number[] = []
  let isDouble: boolean | undefined
  for (const input of node.inputs) {
    const part = inner(input)
    isDouble ??= part?.isDouble
    if (part === undefined || part.isDouble !== isDouble) return undefined
    columns.push(...part.columns)
    // Stops after each part, so that nested concatenations end here.
    if (columns.length > layout.columns.length) return undefined
  }
  return isDouble === undefined ? undefined : { columns, isDouble }
}

function withColumns(tree: TreeInput, columns: readonly number[]): TreeInput {
  const nodes = tree.nodes.map((node) => {
    if (!('slot' in node.test)) return node
    const { slot, threshold } = node.test
    const column = columns[slot.column] ?? refuse(`the trees read column ${slot.column} of ${columns.length}`)
    return { ...node, test: { slot: { ...slot, column }, threshold } }
  })
  return { ...tree, nodes }
}

const normalized =
  (link: LinkFunction): LinkFunction =>
  (sums, at, count) => {
    link(sums, at, count)
    let total = 0
    for (let i = at; i < at + count; i++) total += Math.abs(sums[i]!)
    if (total > 0) for (let i = at; i < at + count; i++) sums[i] = sums[i]! / total
  }

/** Collects the texts that a graph knows, such as the categories of its encoders, so that rows with such texts can be tried. */
import { elementType } from './element-types.ts'
import type { OnnxGraph } from './graph.ts'
import { eachField, spanOf, wireText, type WireSpan } from './wire.ts'

/** Lists of texts that a graph does not compare with its inputs: its answers, and the kinds of the nodes of trees. */
const otherLists = new Set(['classlabels_strings', 'values_strings', 'values_tensor', 'nodes_modes'])
const limits = { lists: 100, texts: 4, bytes: 200 }
const [stringType, dataField] = [elementType('string'), 6]
const [tensorField, textList] = [5, 9]

/** Returns the first texts of each list: those of operators, in their order, then those of tensors. */
export function knownTextsOf({ nodes, initializers }: Pick<OnnxGraph, 'nodes' | 'initializers'>): string[][] {
  const lists: string[][] = []
  const keep = (texts: string[]): void => {
    if (texts.length > 0 && lists.length < limits.lists) lists.push(texts)
  }
  for (const { attributes } of nodes)
    for (const [name, attribute] of attributes) {
      if (otherLists.has(name)) continue
      keep(textsIn(attribute, textList))
      eachField(attribute, (field) => {
        if (field.number === tensorField) keep(textsOfTensor(spanOf(attribute.bytes, field)))
      })
    }
  for (const tensor of initializers.values()) keep(textsOfTensor(tensor))
  return lists
}

function textsOfTensor(tensor: WireSpan): string[] {
  let type = 0
  eachField(tensor, (field) => {
    if (field.number === 2) type = field.value
  })
  return type === stringType ? textsIn(tensor, dataField) : []
}

function textsIn(message: WireSpan, number: number): string[] {
  const texts: string[] = []
  eachField(message, (field) => {
    if (field.number !== number || texts.length === limits.texts) return
    if (field.to - field.from <= limits.bytes) texts.push(wireText(spanOf(message.bytes, field)))
  })
  return texts
}

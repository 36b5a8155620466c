/** Finds code that tells the kinds of an output apart outside of `domain/tasks/`, where a further task would be forgotten. */
import type { Node } from 'oxc-parser'
import { tasks } from '../../domain/tasks/tasks.ts'
import { layerOf } from './layers.ts'
import type { Source } from './source.ts'

/** Kinds of outputs and names of tasks; `number` is also a kind of feature, and `binary` of bytes. */
const words = new Set([...Object.keys(tasks), ...Object.values(tasks).map(({ gate }) => gate.name)])
const manyMeanings = new Set(['number', 'binary'])

/** A package stands alone: the predictors tell what a model is opened for by words of their own. */
const elsewhere = /^(packages|test)(\/|$)/

/** Files whose words only look like kinds of outputs. */
const others: Readonly<Record<string, string>> = {
  'cli/init/init-project.ts': 'what a user of tenure init says of a column',
}

/** Returns each comparison of the kind of an output, or of the name of a task, with a literal. */
export function issuesOfTasks(sources: readonly Source[]): string[] {
  return sources
    .filter(
      ({ path }) =>
        !elsewhere.test(layerOf(path)) && !path.startsWith('domain/tasks/') && others[path] === undefined,
    )
    .flatMap(({ path, text, nodes }) =>
      nodes
        .flatMap(comparisonsOf)
        .filter(({ word, with: compared }) => isOfTasks(word, text.slice(compared.start, compared.end)))
        .map(({ word }) => `${path} compares a task with '${word}'`),
    )
}

/** The form of a field, which several tasks share, is another word. */
const isOfTasks = (word: string, compared: string): boolean =>
  words.has(word) &&
  !compared.endsWith('.is') &&
  (!manyMeanings.has(word) || /(output\)?\??\.kind|\btask)$/i.test(compared))

interface Comparison {
  word: string
  with: Node
}

function comparisonsOf(node: Node): Comparison[] {
  if (node.type === 'BinaryExpression' && /^[!=]==?$/.test(node.operator))
    return [
      [node.left, node.right],
      [node.right, node.left],
    ].flatMap(([literal, other]) => {
      const word = wordOf(literal as Node)
      return word === undefined ? [] : [{ word, with: other as Node }]
    })
  if (node.type !== 'SwitchStatement') return []
  return node.cases.flatMap(({ test }) => {
    const word = test === null ? undefined : wordOf(test)
    return word === undefined ? [] : [{ word, with: node.discriminant }]
  })
}

const wordOf = (node: Node): string | undefined =>
  node.type === 'Literal' && typeof node.value === 'string' ? node.value : undefined

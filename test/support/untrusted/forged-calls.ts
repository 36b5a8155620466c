/**
 * Makes the arguments with which an attacker calls an activity or starts a workflow: every combination of ids of the attacked model, of
 * another model and of none, up to a limit; and for everything else, values of its choice.
 */
import { seededRandom } from '@tenure/sequential'
import type { Callee, Shape } from './arguments.ts'
import { kindOf } from './kinds.ts'
import type { StartType } from '../../../domain/roles.ts'
import { startTypes, type Ids } from './rows.ts'

export interface Arsenal {
  own: Ids
  foreign: Ids
  invented: Ids
  /** Orders of the attacked model that may open no run. */
  orders: Record<StartType, string[]>
  /** A text that stands in every text of the attacker. */
  mark: string
  numbers: readonly number[]
}

/** Fields that no activity takes, with what earlier ones would have believed. Each argument also carries these. */
const loot = (mark: string) => ({
  by: 'root',
  actor: 'root',
  requestedBy: 'root',
  message: mark,
  reason: mark,
  refused: mark,
  evidence: { text: mark },
  outcome: 'promoted',
  verdict: 'better',
  state: { stage: 'promoting', routed: true, promoted: true, shareBp: 10_000, approvals: [{ by: 'anna' }] },
  policy: { strategy: 'direct', approval: { approvers: 0, withinMs: 1 }, stages: [] },
  hotfix: { reason: mark },
  commands: [{ command: 'approve', by: 'anna', id: mark, reason: mark }],
})

/** Returns at most `most` lists of arguments. The first ones belong together: the first of each kind, the second, and so on. */
export function forgedInputs({ name, takes }: Callee, arsenal: Arsenal, most: number): unknown[][] {
  const random = seededRandom(1)
  const made: unknown[][] = []
  const seen = new Set<string>()
  const tries = most * 4
  for (let place = 0; place < tries && made.length < most; place++) {
    const pick = (values: readonly string[]) =>
      place < 4
        ? values[Math.min(place, values.length - 1)]!
        : // Every other one is of the attacked model, where all must belong together.
          values[random() < 0.5 ? 0 : Math.floor(random() * values.length)]!
    const filled = takes.map((shape) => fill(shape, '', { name, arsenal, pick, place }))
    const input = place % 2 === 0 ? filled : filled.map((each) => withLoot(each, arsenal.mark))
    const text = JSON.stringify(input)
    if (seen.has(text)) continue
    seen.add(text)
    made.push(input)
  }
  return made
}

const withLoot = (value: unknown, mark: string): unknown =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? { ...loot(mark), ...value } : value

export const plainNumbers: readonly number[] = [0, 1]
export const oddNumbers: readonly number[] = [2 ** 53, 10_000, -1, 1e300, 0.5]

interface Filling {
  name: string
  arsenal: Arsenal
  pick(values: readonly string[]): string
  place: number
}

/** Whether an activity or a workflow is about a kind of start: `openRetraining` about `retrain`. */
const isAbout = (name: string, type: StartType): boolean =>
  name.toLowerCase().includes(type === 'batchPredict' ? 'batch' : type)

function fill(shape: Shape, path: string, filling: Filling): unknown {
  const { name, arsenal, pick, place } = filling
  const { own, foreign, invented, mark } = arsenal
  const kind = kindOf(name, path, shape)
  if (kind !== undefined) {
    const orders = kind === 'order' ? startTypes.filter((type) => isAbout(name, type)) : []
    const of = orders.flatMap((type) => arsenal.orders[type])
    return pick([...of, ...own[kind], ...foreign[kind].slice(0, 2), ...invented[kind]])
  }
  switch (shape.kind) {
    case 'text':
    case 'anything':
      return mark
    case 'number':
      return arsenal.numbers[place % arsenal.numbers.length]
    case 'boolean':
      return place % 2 === 0
    case 'choice':
      return shape.of[place % shape.of.length]
    case 'list':
      return [fill(shape.of, `${path}[]`, filling)]
    case 'record':
      return { [mark]: fill(shape.of, `${path}.*`, filling) }
    case 'either':
      return fill(shape.of[place % shape.of.length]!, path, filling)
    case 'object':
      return Object.fromEntries(
        Object.entries(shape.fields).map(([field, each]) => [
          field,
          fill(each, path === '' ? field : `${path}.${field}`, filling),
        ]),
      )
    default:
      return shape satisfies never
  }
}

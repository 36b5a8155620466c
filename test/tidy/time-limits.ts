/**
 * Finds tests that name a time limit of their own, or that fail when something took long. vitest.config.ts has one limit for all, which a
 * busy machine does not reach; a shorter one makes a test fail because of other work on the machine.
 */
import type { Node } from 'oxc-parser'
import { byHand } from '../tiers.ts'
import type { Source } from './source.ts'

const hooks =
  /^((it|test|describe)(\.(each|for|skipIf|runIf|only|skip|concurrent|sequential|fails))*|(before|after)(All|Each))$/
/** `testTimeout` of vitest.config.ts, in milliseconds: a test may name a longer one. */
const limitMs = 1_200_000

/** The arguments of calls that are such limits, or the calls, where each of the kind is one. */
export function timeLimitsOf({ path, nodes }: Pick<Source, 'path' | 'nodes'>): Node[] {
  if (!/(^|\/)test\/.*\.ts$/.test(path) || path in byHand) return []
  const measured = new Set(nodes.flatMap(namesOfMeasured))
  return nodes.flatMap((node) => {
    if (node.type !== 'CallExpression') return []
    const called = chainOf(node.callee)
    if (/^toBeLessThan(OrEqual)?$/.test(methodOf(node.callee))) return measuredIn(node.callee, measured)
    // It ends after a second, unless it has a limit.
    if (/^vi\.wait(For|Until)$/.test(called)) return [node]
    if (called === 'expect.poll')
      return node.arguments.slice(1).filter((each) => timeoutOf(each) !== undefined)
    if (!hooks.test(called)) return []
    return node.arguments.slice(1).filter((each) => {
      const limit = each.type === 'Literal' ? each : timeoutOf(each)
      if (limit === undefined) return false
      const isLonger = limit.type === 'Literal' && typeof limit.value === 'number' && limit.value > limitMs
      return !isLonger && (limit.type !== 'Literal' || typeof limit.value === 'number')
    })
  })
}

export const issuesOfTimeLimits = (sources: readonly Source[]): string[] =>
  sources.flatMap((source) =>
    timeLimitsOf(source).map(
      ({ start, end }) =>
        `${source.path} has a time limit, ${source.text.slice(start, end).slice(0, 80)}: await a condition, without a limit, by expect.poll or waitUntil`,
    ),
  )

const methodOf = (node: Node): string =>
  node.type === 'MemberExpression' && node.property.type === 'Identifier' ? node.property.name : ''

/** Whether it is `performance.now() - from`. */
const isTaken = (node: Node | null): boolean =>
  node?.type === 'BinaryExpression' &&
  node.operator === '-' &&
  node.left.type === 'CallExpression' &&
  chainOf(node.left.callee) === 'performance.now'

/** The name of a variable that holds how long something took. */
const namesOfMeasured = (node: Node): string[] =>
  node.type === 'VariableDeclarator' && node.id.type === 'Identifier' && isTaken(node.init)
    ? [node.id.name]
    : []

/** The time that `expect(…).toBeLessThan` compares. */
function measuredIn(matcher: Node, measured: ReadonlySet<string>): Node[] {
  const expected = matcher.type === 'MemberExpression' ? matcher.object : undefined
  if (expected?.type !== 'CallExpression' || chainOf(expected.callee) !== 'expect') return []
  return expected.arguments
    .slice(0, 1)
    .filter((each) => isTaken(each) || (each.type === 'Identifier' && measured.has(each.name)))
}

/** `it.each(…)` is `it.each`; empty for another expression. */
function chainOf(node: Node): string {
  if (node.type === 'Identifier') return node.name
  if (node.type === 'CallExpression') return chainOf(node.callee)
  if (node.type === 'TaggedTemplateExpression') return chainOf(node.tag)
  if (node.type !== 'MemberExpression' || node.property.type !== 'Identifier') return ''
  return `${chainOf(node.object)}.${node.property.name}`
}

function timeoutOf(node: Node): Node | undefined {
  if (node.type !== 'ObjectExpression') return undefined
  return node.properties.flatMap((each) =>
    each.type === 'Property' && each.key.type === 'Identifier' && each.key.name === 'timeout'
      ? [each.value]
      : [],
  )[0]
}

/**
 * Finds tests that name a time limit of their own, that fail when something took long, or that give the system a short limit without a word.
 * vitest.config.ts has one limit for all, which a busy machine does not reach; a shorter one makes a test fail because of other work on the
 * machine.
 */
import type { Node } from 'oxc-parser'
import { byHand } from '../tiers.ts'
import type { Source } from './source.ts'

const hooks =
  /^((it|test|describe)(\.(each|for|skipIf|runIf|only|skip|concurrent|sequential|fails))*|(before|after)(All|Each))$/
/** `testTimeout` of vitest.config.ts, in milliseconds: a test may name a longer one. */
const limitMs = 1_200_000
/** Limits of calls, queries, connections and processes. */
const limits =
  /^(load|run|connect|query|silent|timeout|max|replicaTimeout)Ms$|^(connectTimeout|connectionTimeoutMillis|query_timeout)$/
/** A busy machine does not reach a limit of this length, in milliseconds. */
const patientMs = 60_000
/** No time passes in tests below these folders, or one that they set. */
const untimed = /^test\/(domain|models|simulation|workflows\/histories)\//

/** The arguments of calls that are such limits, or the calls, where each of the kind is one. */
export function timeLimitsOf({ path, nodes }: Pick<Source, 'path' | 'nodes'>): Node[] {
  if (!/(^|\/)test\/.*\.ts$/.test(path) || path in byHand) return []
  const expected = nodes.filter(
    (node) => node.type === 'CallExpression' && /^to[A-Z]/.test(methodOf(node.callee)),
  )
  const isExpected = (node: Node) => expected.some(({ start, end }) => start < node.start && node.end < end)
  const measured = new Set(nodes.flatMap(namesOfMeasured))
  return nodes.flatMap((node) => {
    if (isShortLimit(node) && !untimed.test(path) && !isExpected(node)) return [node]
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
        `${source.path} has a time limit, ${source.text.slice(start, end).slice(0, 80)}: await a condition, without a limit, by expect.poll or waitUntil; a limit of the system is ${patientMs} or more, or reachedMs where the test reaches it`,
    ),
  )

/** Whether it gives a short limit as a number. A test that reaches the limit says so by a constant, such as `reachedMs`. */
function isShortLimit(node: Node): boolean {
  if (node.type === 'CallExpression')
    return chainOf(node.callee) === 'AbortSignal.timeout' && isShort(node.arguments[0])
  // A measured time to load is less than a second.
  if (node.type === 'Property')
    return limits.test(nameOf(node.key)) && isShort(node.value, nameOf(node.key) === 'loadMs' ? 1_000 : 1)
  return node.type === 'VariableDeclarator' && limits.test(nameOf(node.id)) && isShort(node.init)
}

const isShort = (node: Node | null | undefined, fromMs = 1): boolean =>
  node?.type === 'Literal' && typeof node.value === 'number' && node.value >= fromMs && node.value < patientMs

const nameOf = (node: Node): string => (node.type === 'Identifier' ? node.name : '')

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

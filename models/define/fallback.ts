/**
 * Compiles the `fallback` of a model file: the response that replaces the champion's. It is declared in advance, so that an operator need
 * not invent one during an outage.
 */
import type { LabelDefinition } from '../../domain/model-definition.ts'
import type { Fallback } from '../../domain/serving/kill-switch.ts'
import { reportUnknown } from './fields.ts'
import type { IssueCollector } from './issues.ts'
import { taskOf } from '../../domain/tasks/tasks.ts'

export interface FallbackOptions {
  /** Whether the fallback serves automatically while the champion is broken. Default: false, only by kill switch. */
  automatic?: boolean
}
type Answer = string | number
export type FallbackSpec = FallbackOptions &
  ({ kind: 'always'; answer: Answer } | { kind: 'previous'; otherwise?: Answer })

/** Defines a constant response: a class by its name, a probability, or a number. */
export function always(answer: Answer, options: FallbackOptions = {}): FallbackSpec {
  return { kind: 'always', answer, ...options }
}
/**
 * Serves the last earlier champion that passed its probation and was never rolled back. `otherwise` is the constant response if the model
 * has no such version.
 */
export const previousChampion = (options: FallbackOptions & { otherwise?: Answer } = {}): FallbackSpec => ({
  kind: 'previous',
  ...options,
})

export function compileFallback(
  report: IssueCollector,
  spec: FallbackSpec,
  { output }: LabelDefinition,
): Fallback {
  const { automatic } = spec
  if (automatic !== undefined && typeof automatic !== 'boolean')
    report('fallback.automatic', `true or false is required, not ${JSON.stringify(automatic)}`)
  const { kind, ...given } = spec
  if (kind === 'always' || kind === 'previous')
    reportUnknown(report, 'fallback', given, [kind === 'always' ? 'answer' : 'otherwise', 'automatic'])
  const more = automatic === true ? { automatic } : {}
  if (spec.kind === 'previous') {
    const { otherwise } = spec
    const outputs = otherwise === undefined ? undefined : compileAnswer(report, otherwise, output)
    return { kind: 'previous', otherwise: outputs, ...more }
  }
  if (spec.kind !== 'always') {
    report('fallback', 'always(…) or previousChampion() is required')
    return { kind: 'previous' }
  }
  const outputs = compileAnswer(report, spec.answer, output)
  return outputs === undefined ? { kind: 'previous' } : { kind: 'answer', outputs, ...more }
}

/** Returns the outputs of a network that give this prediction. */
function compileAnswer(
  report: IssueCollector,
  answer: Answer,
  output: LabelDefinition['output'],
): number[] | undefined {
  const constant = taskOf(output).constant(output, answer)
  if (Array.isArray(constant)) return constant
  report(
    'fallback',
    'none' in constant ? constant.none : `${constant.required} is required, not ${JSON.stringify(answer)}`,
  )
  return undefined
}

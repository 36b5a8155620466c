/**
 * What answers when the champion must not: declared in the model file, because at the moment of need nobody should have to
 * think of a value, and every replica must have it in memory already.
 */
import type { LabelDefinition } from '../../domain/definition.ts'
import type { Fallback } from '../../domain/flag.ts'
import type { Report } from './report.ts'

export type FallbackSpec = { kind: 'always'; answer: string | number } | { kind: 'previous' }

/** The same answer for everybody: a class by its name, a probability, or a number. */
export const always = (answer: string | number): FallbackSpec => ({ kind: 'always', answer })
/** The last champion before the present one that is proven and was never taken back. */
export const previousChampion = (): FallbackSpec => ({ kind: 'previous' })

export function lowerFallback(report: Report, spec: FallbackSpec, { output }: LabelDefinition): Fallback {
  if (spec.kind === 'previous') return { kind: 'previous' }
  const { answer } = spec
  const wrong = (wanted: string): Fallback => {
    report('fallback', `${wanted} is wanted, not ${JSON.stringify(answer)}`)
    return { kind: 'previous' }
  }
  if (spec.kind !== 'always') return wrong('always(…) or previousChampion()')
  if (output.kind === 'classes') {
    if (!output.classes.some((each) => each === answer)) return wrong(`one of ${output.classes.join(', ')}`)
    return { kind: 'answer', outputs: output.classes.map((each) => (each === answer ? 1 : 0)) }
  }
  if (typeof answer !== 'number' || !Number.isFinite(answer)) return wrong('a finite number')
  if (output.kind === 'probability' && !(answer >= 0 && answer <= 1))
    return wrong('a probability from 0 to 1')
  if (
    output.kind === 'number' &&
    !(answer >= (output.min ?? -Infinity) && answer <= (output.max ?? Infinity))
  )
    return wrong("a number within the label's limits")
  return { kind: 'answer', outputs: [answer] }
}

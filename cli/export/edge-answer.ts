/** Describes the answers of a version for its predictor at the edge, which knows no tasks. */
import { answerProfiles } from '../../domain/model/reference-profile.ts'
import type { Manifest } from '../../domain/model/manifest.ts'
import type { AnswerForm, Output } from '../../domain/tasks/output.ts'
import { decisionNames, scorePlace, taskOf } from '../../domain/tasks/tasks.ts'

export function edgeAnswerOf(output: Output): AnswerForm {
  const { fields, noun, range, rises } = taskOf(output)
  return { fields: fields(output), noun, range: range(output), rises }
}

/** What an export with counters counts; undefined for a version without a training profile. */
export function edgeCountingOf({ profile, features, output }: Manifest) {
  if (profile === undefined) return undefined
  const names = taskOf(output).labelKind === 'text' ? decisionNames(output) : undefined
  return {
    everyMs: profile.everyMs,
    features: profile.features.filter(({ name, kind }) => features?.[name]?.kind === kind),
    scores: answerProfiles(profile).map((each, index) => ({
      profile: each,
      place: scorePlace(output) + index,
      names,
    })),
  }
}

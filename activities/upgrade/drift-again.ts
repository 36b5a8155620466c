/** Repeats the last drift verdicts with the judge of this build, from the counts and limits stored with each verdict. */
import type { VerdictsAgain } from '../../domain/installation/checked-build.ts'
import { labelProfiles } from '../../domain/model/reference-profile.ts'
import { judgeDrift } from '../../domain/monitoring/drift.ts'
import { listDriftJudgements, type DriftJudgement } from '../../store/monitoring/drift-judgements.ts'
import type { Store } from '../../store/postgres.ts'
import { findVersion } from '../../store/registry/versions.ts'

const maxJudgements = 200

export async function judgeDriftAgain(store: Store, limit = maxJudgements): Promise<VerdictsAgain> {
  const result: VerdictsAgain = { judged: 0, notComparable: [], differs: [] }
  for (const judgement of await listDriftJudgements(store, limit)) {
    const { version, subject, toMs, level, inputs, policy, report } = judgement
    const what = `drift of ${version}, ${subject}, until ${new Date(toMs).toISOString()}`
    const reference = await referenceOf(store, judgement)
    if (reference === undefined) {
      result.notComparable.push(what)
      continue
    }
    const again = judgeDrift({ reference, ...inputs }, policy)
    result.judged++
    if (again.level !== level)
      result.differs.push({ what, before: textOf(level, report), after: textOf(again.level, again) })
  }
  return result
}

/** Undefined when the version is gone or no longer has a profile of its training rows. */
async function referenceOf(store: Store, { version, subject, inputs }: DriftJudgement) {
  if (inputs.reference !== undefined) return inputs.reference
  const profile = (await findVersion(store, version))?.manifest.profile
  if (subject === 'served') return profile
  if (labelProfiles(profile).length === 0) return undefined
  const { rows = 0, label, labels } = profile ?? {}
  return { rows, features: [], label, labels }
}

const textOf = (level: string, { reasons }: DriftJudgement['report']): string =>
  reasons.length === 0 ? level : `${level} (${reasons.map(({ code }) => code).join(', ')})`

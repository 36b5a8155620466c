/** Tests the histograms of features and predictions in the bins of the version's profile; rows are not stored for them. */
import sql from 'sql-template-tag'
import { expect, it } from 'vitest'
import {
  categoryProfile,
  numberProfile,
  type ReferenceProfile,
} from '../../../../domain/model/reference-profile.ts'
import { findWindow } from '../../../../store/serving/feature-counts.ts'
import { irisRow, irisSpec, putArtifact } from '../../../support/serving/artifact.ts'
import { openServingFixture, startReplica } from '../../../support/serving/serving-fixture.ts'
import { uniqueName } from '../../../support/servers/servers.ts'
import { signatureOf } from '../../../support/serving/sign-versions.ts'

const hour = 3_600_000
const lengths = Array.from({ length: 100 }, (_, i) => i / 10)
const profile: ReferenceProfile = {
  rows: 100,
  features: Object.keys(irisRow).map((name) => numberProfile(name, lengths)),
  score: categoryProfile('score', ['setosa', 'versicolor', 'virginica']),
}

it('replicas report histograms of features and predictions, and their counts add up', async () => {
  const fixture = await openServingFixture()
  const spec = irisSpec(uniqueName('iris'))
  const version = await fixture.register(spec)
  const digest = await putArtifact(fixture.artifactRoot, spec, (manifest) => ({ ...manifest, profile }))
  const signed = { version, model: spec.model, artifactDigest: digest }
  const signature = await signatureOf(fixture.artifactRoot, signed)
  await fixture.store.query(
    sql`update versions set artifact_digest = ${digest}, signature = ${signature} where version = ${version}`,
  )
  const route = await fixture.route(spec.model, { proven: version })
  const nowMs = Date.now()
  const replicas = [await startReplica(fixture), await startReplica(fixture)]
  const labels: string[] = []
  for (const replica of replicas) {
    await replica.follows(route)
    for (let i = 0; i < 50; i++) {
      const instances = [{ ...irisRow, sepalLength: 0.05 }, { ...irisRow, sepalLength: 9.9 }, irisRow]
      const { predictions } = replica.ask(spec.model, { instances })
      labels.push(...predictions.map(({ label }) => String(label)))
    }
    // Refused requests are not counted.
    expect(() => replica.ask(spec.model, { instances: [{ ...irisRow, sepalWidth: 'wide' }] })).toThrow()
  }
  for (const replica of replicas) await replica.stop()
  // The hour may change during the test.
  const [fromMs, toMs] = [nowMs - 2 * hour, nowMs + 2 * hour]
  const window = await findWindow(fixture.store, { model: spec.model, version, fromMs, toMs })
  expect(window?.features['sepalLength']).toEqual([100, 0, 0, 0, 0, 100, 0, 0, 0, 100, 0])
  const { categories } = profile.score as { categories: string[] }
  const answered = categories.map((each) => labels.filter((label) => label === each).length)
  expect(window?.score?.slice(0, categories.length)).toEqual(answered)
  expect(answered.reduce((sum, n) => sum + n, 0)).toBe(300)
  await fixture.close()
})

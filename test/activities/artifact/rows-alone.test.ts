/** Tests that a model that is code, or that a server answers, is refused where the same row gets another answer. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { storeArtifact, type MadeArtifact } from '../../../activities/artifact/write-artifact.ts'
import { columnOf, columnTableOf } from '../../../domain/model/columns.ts'
import { broughtFacts } from '../../../domain/model/manifest.ts'
import type { ModelDefinition } from '../../../domain/model-definition.ts'
import { openArtifacts, type Artifacts } from '../../../store/artifacts.ts'

let root: string
let artifacts: Artifacts
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'tenure-rows-alone-'))
  artifacts = openArtifacts(root)
})
afterAll(() => rmSync(root, { recursive: true }))

const features: ModelDefinition['features'] = { size: { kind: 'number' } }
const definition = {
  name: 'roses',
  features,
  featureOrder: ['size'],
  label: { column: 'price', output: { kind: 'number' } },
  golden: [],
} as Partial<ModelDefinition> as ModelDefinition

const sizes = Array.from({ length: 40 }, (_, row) => row)
const data: MadeArtifact['data'] = {
  ...columnTableOf(
    sizes.map((size) => ({ size })),
    ['size'],
  ),
  labels: [columnOf(sizes)],
}

/** `answer` gets the sizes of the rows that are asked together. */
const store = (artifact: MadeArtifact['artifact'], answer: (sizes: number[]) => number[]) =>
  storeArtifact(artifacts, {
    definition,
    artifact,
    files: {},
    fits: [{ name: 'size', kind: 'number', mean: 0, std: 1, fill: null }],
    data,
    training: { ...broughtFacts, hyperparameters: {} },
    answer: (rows) => answer(rows.map(({ size }) => Number(size))).map((value) => [value]),
  })

describe('a model that is code', () => {
  let draws = 0
  it.each<[string, (sizes: number[]) => number[]]>([
    ['scales by the rows that are asked', (given) => given.map((size) => size / Math.max(...given, 1))],
    ['numbers the categories of the rows that are asked', (given) => given.map((_, place) => place)],
    ['draws another number each time', (given) => given.map((size) => size + draws++)],
  ])('is refused where it %s', async (_, answer) => {
    await expect(store('python-object', answer)).rejects.toMatchObject({
      code: 'artifact_invalid',
      message: expect.stringMatching(
        /answers the same row with \[.+\] alone and with \[.+\] among others/,
      ) as string,
    })
  })

  it('is stored where each row has an answer of its own, up to rounding', async () => {
    const answer = (given: number[]) => given.map((size) => size * 2 + given.length * 1e-8)
    await expect(store('python-object', answer)).resolves.toMatch(/^sha256:/)
  })
})

describe('a model that a server answers', () => {
  it('is refused with the largest difference where it answers the same rows otherwise', async () => {
    let asked = 0
    const noisy = (given: number[]) => given.map((size) => size + (asked++ < given.length ? 0 : size / 64))
    await expect(store('endpoint', noisy)).rejects.toMatchObject({
      code: 'artifact_invalid',
      message: expect.stringMatching(
        /golden row 7 gives 35 at output 0, and 35\.546875 when it is asked again, which is the largest difference of 8 rows\. Have its server/,
      ) as string,
    })
  })

  it('is stored where it answers alike, up to rounding', async () => {
    let asked = 0
    await expect(store('endpoint', (given) => given.map((size) => size + asked++ * 1e-9))).resolves.toMatch(
      /^sha256:/,
    )
  })
})

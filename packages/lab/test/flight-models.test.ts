/** Tests that the benchmarks can still edit the flight model: they replace lines of its file, and the result is a valid model. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { createSteppedClock } from '../half-year/clock.ts'
import { halfYearModel, writeModel } from '../half-year/model.ts'
import { modelOfEpochs } from '../training/fixture.ts'
import { loadModel } from '../../../models/index.ts'

it('half a year is run with a monitor and a release of seconds', async () => {
  const clock = createSteppedClock({ recordedMs: Date.UTC(2001, 0, 29), wallMs: Date.now(), weekMs: 36_000 })
  const directory = await writeModel(clock, { trainRows: 40_000, testRows: 20_000 })
  try {
    const { definition } = await loadModel(halfYearModel, directory)
    expect(definition.monitor).toMatchObject({ settleMs: 1_000 })
    expect(definition.release.approval.approvers).toBe(0)
  } finally {
    await rm(directory, { recursive: true })
  }
})

it('a training is measured with another number of epochs', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'tenure-epochs-'))
  try {
    const { definition } = await modelOfEpochs(directory, 7)
    expect(definition.hyperparameters).toMatchObject({ epochs: 7 })
  } finally {
    await rm(directory, { recursive: true })
  }
})

/** Tests that graphs that divide texts into words answer, in their turn and without a locale that root would have to install. */
import { expect, it } from 'vitest'
import { openSessionOf } from '../../../src/formats/onnx/format.ts'
import { textsOfCategories } from '../../../src/formats/texts-of-categories.ts'
import { openOnnx } from '../../../src/formats/onnx/open-onnx.ts'
import { createSessions } from '../../../src/formats/onnx/session/session-host.ts'
import { inTurn } from '../../../src/formats/onnx/session/turn-session.ts'
import { rowTexts } from '../../support/onnx-answers.ts'
import { wordsModel } from '../../support/runtime-graphs.ts'

it('words of several scripts are counted in lower case, in the turn of the request and in the process', async () => {
  const bytes = wordsModel()
  const sessions = createSessions({ onError: (message) => expect.fail(message) })
  const { layout } = openOnnx(bytes)
  const alone = { ...layout, hasSteadyTime: false }
  const hosted = await openSessionOf(sessions, { name: 'words', bytes, layout: alone })
  const cost = { loadMs: 1, callMs: 0.01, rowMs: 0.01, byteMs: 0 }
  const textsOf = textsOfCategories([true])
  for (const predictor of [hosted, inTurn(hosted, { bytes, layout, cost, textsOf })]) {
    const output = new Float32Array(6)
    const texts = rowTexts([['GUT Äö gut und'], ['ЛИСА']])
    const running = predictor.run(new Float64Array(0), 2, output, undefined, texts)
    expect(running === undefined).toBe(predictor !== hosted)
    await running
    expect([...output]).toEqual([2, 1, 0, 0, 0, 1])
  }
  await sessions.stop()
})

it('a locale that the file names and the machine lacks is refused', async () => {
  const bytes = wordsModel({ locale: 'xx_XX' })
  const sessions = createSessions({ onError: (message) => expect.fail(message) })
  const opening = openSessionOf(sessions, { name: 'words', bytes, layout: openOnnx(bytes).layout })
  await expect(opening).rejects.toThrow(/Failed to construct locale with name:xx_XX/)
  await sessions.stop()
})

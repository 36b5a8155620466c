/**
 * Tests on the real servers, with an API process, that a user sees the failed checks of a quarantined retraining and the warnings of another
 * one as rows: in the API, at 80 columns of a terminal, on the page and in the alert.
 */
import { stripVTControlCharacters } from 'node:util'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import { alertText } from '../../../activities/alerts/delivery/message.ts'
import { commands } from '../../../cli/commands/all-commands.ts'
import { runProgram } from '../../../cli/program.ts'
import { listAlerts } from '../../../store/monitoring/alerts.ts'
import { releaseWorkflowId } from '../../../workflows/messages.ts'
import { startApiProcess, type ApiProcess } from '../../support/serving/api-process.ts'
import { writeChampion } from '../../support/serving/registration.ts'
import { servingFixtureOn, type ServingFixture } from '../../support/serving/serving-fixture.ts'
import { uniqueName } from '../../support/servers/servers.ts'
import { exampleDay, insertExampleRows, syncExampleModel } from '../../support/training/example-model.ts'
import { openPipeline, type Pipeline } from '../../support/training/pipeline.ts'

const model = uniqueName('roses')
const asOf = exampleDay(35)
let pipeline: Pipeline
let fixture: ServingFixture
let api: ApiProcess
let key: string

beforeAll(async () => {
  pipeline = await openPipeline()
  const { config, store, models } = pipeline
  await insertExampleRows(store, { from: 0, to: 40 })
  await store.query(sql`update roses set age = null where id = 800`)
  await syncExampleModel(store, models, {
    name: model,
    more: `expect: [rowCount({ min: 500 }), complete(['age', 'size'], { mostly: 0.85 }), warn(between('size', { max: 7 }))],`,
  })
  fixture = servingFixtureOn({ databaseUrl: config.databaseUrl, artifactRoot: config.artifactRoot })
  key = await fixture.key()
  api = await startApiProcess({
    ...fixture.environment(),
    TENURE_KEYS: config.signing.keys,
    TEMPORAL_ADDRESS: config.temporal.address,
    TEMPORAL_NAMESPACE: config.temporal.namespace,
    TENURE_CONTROL_QUEUE: config.taskQueues.control,
    TENURE_TRAIN_QUEUE: config.taskQueues.train,
  })
})
afterAll(async () => {
  await api?.end('SIGTERM')
  await fixture?.close()
  await pipeline?.close()
})

/** Runs a command on a terminal of 80 columns. */
async function tenure(...words: string[]): Promise<{ code: number; lines: string[] }> {
  vi.stubEnv('TENURE_URL', api.url)
  vi.stubEnv('TENURE_KEY', key)
  const written: string[] = []
  const out = { write: (text: string) => written.push(text), isTTY: true, columns: 80, hasColors: () => true }
  const code = await runProgram(commands, words, { out, err: out })
  // What follows the progress, which is erased.
  const end = written.join('').split('\u001b[0J').at(-1)!
  return { code, lines: stripVTControlCharacters(end).trimEnd().split('\n') }
}
const read = async (path: string, accept = 'application/json') => {
  const answer = await fetch(`${api.url}${path}`, { headers: { authorization: `Bearer ${key}`, accept } })
  return answer.text()
}
interface Shown {
  outcome: string
  message: string
  snapshot_digest: string
  validation: { checks: Record<string, unknown>[] }
}
const show = async (id: string) =>
  JSON.parse(await read(`/v1/retrainings/${encodeURIComponent(id)}`)) as Shown
/** The texts of the cells of a row of the table of checks. */
const cellsOf = (html: string): string[][] =>
  [
    ...(/aria-labelledby="checks-heading">(.*?)<\/section>/s.exec(html)?.[1] ?? '').matchAll(
      /<tr>(.*?)<\/tr>/gs,
    ),
  ]
    .map(([, row]) =>
      [...row!.matchAll(/<t[dh][^>]*>(.*?)<\/t[dh]>/gs)].map(([, cell]) =>
        cell!.replaceAll(/<[^>]+>/g, '').replaceAll('\u00A0', ' '),
      ),
    )
    .slice(1)
const lastId = async () =>
  (JSON.parse(await read(`/v1/retrainings?model=${model}&limit=1`)) as { retrainings: { id: string }[] })
    .retrainings[0]!.id

it('a warning of a retraining that passed is a row in the API, in the command line and on the page', async () => {
  const { lines } = await tenure('retrain', model, '--as-of', asOf, '--watch')
  const at = lines.indexOf('Warnings')
  expect(lines.slice(at + 1, at + 3)).toEqual([
    expect.stringMatching(/^column +check +observed +required +champion$/),
    expect.stringMatching(/^size +! between +/),
  ])
  const id = await lastId()
  const shown = await show(id)
  expect(shown).toMatchObject({
    outcome: 'released',
    validation: {
      snapshot_digest: shown.snapshot_digest,
      verdict: 'warn',
      failed: 0,
      checks: [
        {
          check: 'between',
          column: 'size',
          observed: expect.stringMatching(/^[\d.]+ % are above 7$/) as unknown,
          required: 'none',
          severity: 'warning',
        },
      ],
    },
  })
  const html = await read(`/retrainings/${encodeURIComponent(id)}`, 'text/html')
  expect(cellsOf(html).map(([column, check, result]) => [column, check, result])).toEqual([
    ['size', 'between', 'warning'],
  ])
  const version = (shown as unknown as { version: string }).version
  await pipeline.client.workflow.getHandle(releaseWorkflowId(model)).terminate()
  await writeChampion(pipeline.store, model, version)
})

it('the failed checks of a quarantined retraining are rows with the value of the champion, and sentences of the alert', async () => {
  await pipeline.store.query(sql`update roses set age = null where id % 3 = 0`)
  await pipeline.store.query(sql`update roses set size = 30 where id % 5 = 0`)
  const { code, lines } = await tenure('retrain', model, '--as-of', asOf, '--watch')
  expect(code).toBe(6)
  expect(lines.filter((line) => line.length > 80)).toEqual([])
  const id = await lastId()
  const shown = await show(id)
  const { checks } = shown.validation
  expect(shown).toMatchObject({
    outcome: 'quarantined',
    validation: {
      snapshot_digest: shown.snapshot_digest,
      verdict: 'block',
      failed: 2,
      runbook: '/runbooks/quarantined',
      next: `Correct the rows or the expectation, then run \`tenure retrain ${model} --watch\``,
    },
  })
  expect(checks).toMatchObject([
    { check: 'between', column: 'size', required: 'at most 10 %', champion: '0 %', severity: 'failed' },
    {
      check: 'complete',
      column: 'age',
      observed: expect.stringMatching(/^[\d.]+ % are null$/) as unknown,
      required: 'at most 15 %',
      champion: expect.stringMatching(/^[1-9][\d.]* %$/) as unknown,
      severity: 'failed',
    },
    { check: 'between', column: 'size', required: 'none', severity: 'warning' },
  ])
  const [, complete] = checks
  const sentence = `age: ${complete!['observed']}, at most 15 % allowed, ${complete!['champion']} of the champion's rows`
  expect(shown.message).toContain(sentence)

  const at = lines.indexOf('Failed checks')
  expect(lines.slice(at - 2, at)).toEqual(['data failed validation: the data failed 2 of 15 checks', ''])
  const row = lines.find((line) => /^age +✗ complete /.test(line))
  expect(row).toMatch(new RegExp(`${complete!['observed']} +at most 15 % +${complete!['champion']}$`))
  const digest = shown.snapshot_digest.replace('sha256:', '').slice(0, 12)
  expect(lines.slice(-3).join('\n').replaceAll(/\n +/g, ' ')).toBe(
    `Snapshot ${digest} · docs/runbooks/quarantined.md
Correct the rows or the expectation, then run \`tenure retrain ${model} --watch\``,
  )
  const again = await tenure('retrainings', 'show', model)
  expect(again.lines).toEqual(lines.slice(at - 2))

  const html = await read(`/retrainings/${encodeURIComponent(id)}`, 'text/html')
  expect(cellsOf(html).map((cells) => cells.join(' | '))).toEqual([
    expect.stringMatching(
      /^size \| between \| failed \| .* are below 0 or above 10, such as 30 \| at most 10 % \| 0 %$/,
    ),
    `age | complete | failed | ${complete!['observed']} | at most 15 % | ${complete!['champion']}`,
    expect.stringMatching(/^size \| between \| warning \| /),
  ])
  for (const part of [
    `/data/${encodeURIComponent(shown.snapshot_digest)}`,
    'href="/runbooks/quarantined"',
    'tenure retrain',
  ])
    expect(html).toContain(part)

  const alerts = await listAlerts(pipeline.store, { model, open: true })
  const alert = alerts.find(({ kind }) => kind === 'quarantined')
  const told = alertText({
    id: 1,
    about: 'raised',
    alert: alert!,
    link: `https://tenure.example/retrainings/${encodeURIComponent(id)}`,
    runbook: 'https://tenure.example/runbooks/quarantined',
  })
  expect(told).toContain(sentence)
  expect(told).toContain('Open retraining: https://tenure.example/retrainings/')
})

it('a trial shows its failed checks and its next step', async () => {
  const { code, lines } = await tenure('try', model, '--as-of', asOf)
  expect(code).toBe(6)
  expect(lines.filter((line) => line.length > 80)).toEqual([])
  expect(lines).toContainEqual(expect.stringMatching(/^age +✗ complete /))
  expect(lines).toContain(`Correct the rows or the expectation, then run \`tenure try ${model}\``)
})

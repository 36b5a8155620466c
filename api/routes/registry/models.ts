/** `/v1/models`: shows models, their champions and earlier champions, and deletes a model. */
import { z } from 'zod'
import { findRefitText } from '../../../store/registry/versions.ts'
import { judgeMinute } from '../../../domain/monitoring/last-minute.ts'
import { listedFeatures } from '../../../domain/model-definition.ts'
import { DomainError } from '../../../domain/errors.ts'
import * as schema from '../../../domain/schema.ts'
import { readFeatureCounts, storeSentCounts } from '../../services/registry/feature-counts.ts'
import { readRecordedTraffic } from '../../services/registry/recorded-traffic.ts'
import { digestOfJson } from '../../../store/artifacts.ts'
import { listChampions, findFirstChampion, findLiveAt } from '../../../store/registry/champions.ts'
import { firstStepOf } from '../../../store/release/first-release.ts'
import { listUnmeasured } from '../../../store/monitoring/monitor-windows.ts'
import { listListedModels } from '../../../store/maintenance/expected-work.ts'
import { getModel, type StoredModel } from '../../../store/registry/models.ts'
import type { Store } from '../../../store/postgres.ts'
import { readLastMinute } from '../../../store/registry/champion-watch.ts'
import { listOpenReleaseIds } from '../../../store/release/releases.ts'
import { findRollbackPlan, findRollbackSubject } from '../../../store/release/rollback.ts'
import { stepWithoutTarget } from '../../../store/release/without-target.ts'
import { admins, defineRoute, predictors, viewers, type RouteDefinition } from '../../http/route.ts'
import type { ApiDeps } from '../../deps.ts'
import { booleanFlag, pastSearchedTime, toWire } from '../../http/schemas.ts'
import { deleteModel } from '../../services/registry/delete-model.ts'

/** About a quarter; the response for a longer time would have several megabytes. */
const maxCountedDays = 92

const maxSentPeriods = 48
const sentBins = z.record(z.string(), z.array(z.int().min(0)))

const summary = schema.record(
  { name: schema.text, syncedAt: schema.time },
  {
    about: schema.text,
    champion: schema.record({ version: schema.text, since: schema.time }, { releaseId: schema.text }),
    openRelease: schema.text,
    lastMinute: schema.record({ requests: schema.count, failed: schema.count, isFailing: schema.flag }),
    qualityUnmeasured: schema.text,
    partsUnmeasured: schema.list(schema.text),
  },
)
const answerBins = { names: schema.list(schema.text), counts: schema.list(schema.count) }
const answerEdges = { scores: schema.list(schema.number), edges: schema.list(schema.number) }
const countedHours = schema.list(
  schema.record(
    { at: schema.time, features: schema.map(schema.list(schema.count)) },
    { score: schema.list(schema.count), scores: schema.map(schema.list(schema.count)) },
  ),
)

export const modelRoutes = (deps: ApiDeps): RouteDefinition[] => [
  ...readRoutes(deps),
  defineRoute('delete', '/v1/models/:name', admins, {
    summary:
      'Delete a model for good, with everything that is recorded of it but its audit rows. `confirm` repeats the name. With dry_run, only count its rows and name what has to be done before. Refused while something of the model is in progress, and until its kill switch is `refuse` on every replica.',
    answers: {
      200: 'The rows by table; for a dry run, what has to be done before. Requests, counters and files of the model are deleted in the background',
    },
    answerSchema: schema.record({
      model: schema.text,
      deleted: schema.flag,
      rows: schema.map(schema.count),
      issues: schema.list(schema.text),
    }),
    query: z.strictObject({ confirm: z.string(), dry_run: booleanFlag.default(false) }),
    async handle({ actor, params, query }) {
      const model = params['name']!
      if (query.confirm !== model)
        throw new DomainError('invalid_request', 'confirm: is not the name of the model')
      return { json: await deleteModel(deps, actor!, { model, isDry: query.dry_run }) }
    },
  }),
]

const readRoutes = ({ store, serving }: ApiDeps): RouteDefinition[] => [
  defineRoute('get', '/v1/models', viewers, {
    summary:
      'List models with their champions and open releases. A model whose file was removed is listed while it has a version.',
    answers: { 200: 'The models' },
    answerSchema: schema.record({ models: schema.list(summary) }),
    async handle() {
      const models = await listListedModels(store)
      return { json: { models: await summariesOf(store, models) } }
    },
  }),
  defineRoute('get', '/v1/models/:name', viewers, {
    summary: 'Show a model: features, output, release policy, and the route on this replica.',
    answers: { 200: 'The model' },
    answerSchema: schema.extend(
      summary,
      {
        features: schema.map(
          schema.record(
            { kind: schema.text },
            {
              unit: schema.text,
              min: schema.number,
              max: schema.number,
              values: schema.list(schema.text),
              missing: schema.text,
              about: schema.text,
              from: schema.data,
            },
          ),
        ),
        output: schema.data,
        releasePolicy: schema.data,
        codeDigest: schema.text,
        definitionDigest: schema.text,
        ready: schema.flag,
      },
      {
        refit: schema.text,
        rollsBack: schema.text,
        noRollback: schema.data,
        firstStep: schema.text,
        route: schema.data,
      },
    ),
    async handle({ params }) {
      const model = await getModel(store, params['name']!)
      const { label, release } = model.definition
      const summary = (await summariesOf(store, [model]))[0]!
      return {
        json: {
          ...summary,
          refit: await findRefitText(store, summary.champion?.version),
          features: listedFeatures(model.definition),
          output: label.output,
          release_policy: release,
          code_digest: model.codeDigest,
          // `tenure` compares the digest with the model file.
          definition_digest: digestOfJson(model.definition),
          // The user confirms this version, and the rollback order names it.
          rolls_back: await findRollbackSubject(store, model.name),
          no_rollback: await findNoRollback(store, model.name),
          first_step: summary.champion === undefined ? await firstStepOf(store, model.name) : undefined,
          route: serving.routing.find(model.name)?.route,
          // Read by clients of KServe version 1.
          ready: serving.routing.find(model.name) !== undefined,
        },
      }
    },
  }),
  defineRoute('get', '/v1/models/:name/traffic', viewers, {
    summary:
      'Show the requests and failures of the champion in the last day, tick by tick, how often it gave each answer, how late and complete its outcomes are, and how many answers were right.',
    answers: {
      200: 'The ticks since the first request of the day, oldest first, with those without a request; answers and outcomes; what simulations repeat',
    },
    answerSchema: schema.record(
      {
        model: schema.text,
        tickMs: schema.number,
        ticks: schema.list(
          schema.record({ requests: schema.count, errors: schema.count, invalid: schema.count }),
        ),
      },
      {
        answers: schema.record(answerBins, {
          ...answerEdges,
          others: schema.list(schema.record(answerBins, answerEdges)),
        }),
        labels: schema.record(
          {
            delayMs: schema.number,
            windowMs: schema.number,
            predictions: schema.count,
            known: schema.count,
          },
          { right: schema.count },
        ),
      },
    ),
    async handle({ params }) {
      const { name, definition } = await getModel(store, params['name']!)
      const { tickMs } = definition.release.watch
      const nowMs = serving.wall()
      const { recorded, answers, labels } = await readRecordedTraffic(store, { model: name, tickMs, nowMs })
      return {
        json: {
          model: name,
          tick_ms: tickMs,
          ticks: recorded,
          answers,
          labels: labels && toWire(labels),
        },
      }
    },
  }),
  defineRoute('get', '/v1/models/:name/feature-counts', viewers, {
    summary:
      'Show how often values of features and scores fell into the bins of a version’s training profile; with `before`, also in earlier periods.',
    answers: { 200: 'The profile and the counts, oldest first' },
    answerSchema: schema.record(
      {
        model: schema.text,
        version: schema.text,
        profile: schema.data,
        countMs: schema.number,
        spanMs: schema.number,
        counts: countedHours,
        exported: countedHours,
      },
      { earlier: countedHours },
    ),
    query: z.strictObject({
      version: z.string().optional(),
      days: z.coerce.number().positive().max(maxCountedDays).default(30),
      /** Offsets in milliseconds, separated by commas. The response adds the same period shifted back by each offset. */
      before: z
        .string()
        .regex(/^[1-9]\d{0,11}(,[1-9]\d{0,11}){0,9}$/)
        .optional(),
    }),
    async handle({ params, query }) {
      const model = await getModel(store, params['name']!)
      const asked = { ...query, before: offsetsOf(query.before), toMs: serving.wall() }
      return { json: await readFeatureCounts(store, model, asked) }
    },
  }),
  defineRoute('post', '/v1/models/:name/feature-counts', predictors, {
    summary:
      'Store what an exported predictor has counted (`tenure export --counters`), so that drift is judged from its rows where no replica has counted. Counts are absolute for a key, sender and period: sending them again changes nothing.',
    answers: { 200: 'The number of periods stored' },
    answerSchema: schema.record({ stored: schema.count }),
    body: z.strictObject({
      version: z.string(),
      /** The id of the predictor since it was loaded. */
      sender: z.uuid(),
      counts: z
        .array(z.strictObject({ at: z.iso.datetime(), features: sentBins, scores: sentBins }))
        .min(1)
        .max(maxSentPeriods),
    }),
    async handle({ actor, params, body }) {
      const model = await getModel(store, params['name']!)
      return {
        json: { stored: await storeSentCounts(store, actor!, { model, sent: body, nowMs: serving.wall() }) },
      }
    },
  }),
  defineRoute('get', '/v1/models/:name/champion', viewers, {
    summary: 'Show the champion at a given time, with the release, evidence and approvals behind it.',
    answers: { 200: 'The change that made it champion, with its release, verdicts and audit row' },
    answerSchema: schema.record(
      {
        model: schema.text,
        version: schema.text,
        cause: schema.text,
        actor: schema.text,
        since: schema.time,
        at: schema.time,
      },
      {
        reason: schema.text,
        artifactDigest: schema.text,
        release: schema.data,
        evaluation: schema.data,
        decisions: schema.list(schema.data),
        audit: schema.data,
      },
    ),
    query: z.strictObject({ at: pastSearchedTime(serving.wall).optional() }),
    async handle({ params, query }) {
      const model = params['name']!
      await getModel(store, model)
      const at = query.at ?? new Date(serving.wall()).toISOString()
      const live = await findLiveAt(store, { model, at })
      if (live === undefined) {
        const first = await findFirstChampion(store, model)
        const since = first
          ? `; its first champion was ${first.version}, since ${first.at}`
          : ' and never had one'
        throw new DomainError('not_found', `${model} had no champion at ${at}${since}`, {
          remedy: first ? `Ask for a time since ${first.at}.` : await firstStepOf(store, model),
        })
      }
      return { json: { ...toWire(live), at: live.since } }
    },
  }),
]

/** Why the champion cannot be rolled back, by what is stored of its former versions, and the next step; undefined where it can. */
async function findNoRollback(store: Store, model: string) {
  const { from, refusal } = await findRollbackPlan(store, model, () => Promise.resolve(undefined))
  if (from === undefined || refusal === undefined) return undefined
  return { detail: refusal, remedy: await stepWithoutTarget(store, model) }
}

/** Reads all models at once: one statement each would wait for a connection where there are many. */
async function summariesOf(store: Store, models: readonly StoredModel[]) {
  const names = models.map(({ name }) => name)
  const [champions, releases, windows, minutes] = await Promise.all([
    listChampions(store, names).then(byModel),
    listOpenReleaseIds(store, names).then(byModel),
    listUnmeasured(store, names).then(byModel),
    readLastMinute(store, names),
  ])
  return models.map(({ name, definition, syncedAt }) => {
    const champion = champions.get(name)
    const unmeasured = windows.get(name)
    const { champion: minute, others = [] } = minutes.get(name) ?? {}
    return {
      name,
      about: definition.about,
      champion: champion && {
        version: champion.version,
        since: champion.since,
        release_id: champion.releaseId,
      },
      open_release: releases.get(name)?.id,
      last_minute: {
        ...(minute === undefined ? { requests: 0, failed: 0 } : (toWire(minute) as object)),
        is_failing: minute !== undefined && judgeMinute(minute) === 'failing',
        others,
      },
      quality_unmeasured: unmeasured?.quality,
      parts_unmeasured: unmeasured?.parts ?? [],
      synced_at: syncedAt,
    }
  })
}

const byModel = <T extends { model: string }>(rows: readonly T[]): Map<string, T> =>
  new Map(rows.map((row) => [row.model, row]))

const offsetsOf = (before: string | undefined): number[] | undefined => before?.split(',').map(Number)

/** `/v1/versions`: searches, shows and compares registered versions. */
import { z } from 'zod'
import { loadTestLimits, type LoadTest } from '../../../domain/model/load-test.ts'
import { startRoles } from '../../../domain/roles.ts'
import * as schema from '../../../domain/schema.ts'
import { findStatus, findVersions, foundVersion, getVersion } from '../../../store/registry/versions.ts'
import { listFailedRequests, versionFailure } from '../../../store/review/failed-requests.ts'
import { readLoadTest, startLoadTest } from '../../services/load-tests.ts'
import { compareNamed } from '../../services/version-diff.ts'
import { defineRoute, viewers, type RouteDefinition } from '../../http/route.ts'
import type { ApiDeps } from '../../deps.ts'
import { cursorOfKey, keyOfCursor } from '../../http/version-cursor.ts'
import { versionSearchFields } from '../../http/version-search.ts'
import { requireInOrder, limit, toWire } from '../../http/schemas.ts'
import { checkArtifact, uploadLimits } from '../../services/registry/check-artifact.ts'
import { importBundle } from '../../services/registry/import-bundle.ts'
import { startRetraining } from '../../services/start-retraining.ts'
import { retrainingStarted, whenDeferred, respondToStart } from '../command-response.ts'
import { readUpload, uploadNotes, bundleForm, uploadForm, uploadTypes } from './artifact-upload.ts'

const versionText = z
  .string()
  .min(1)
  .max(200)
  .meta({
    pattern: String.raw`^.+(_v\d+\.\d+\.\d+|@(champion|latest|v?\d+\.\d+\.\d+))$`,
    description: 'model_v1.2.0, model@v1.2.0, model@champion or model@latest.',
  })

export const versionRoutes = (deps: ApiDeps): RouteDefinition[] => [
  defineRoute('get', '/v1/versions', viewers, {
    summary:
      'Search registered versions. `metric`: conditions that all hold, such as auc>0.8,brier<0.2. `since` (inclusive) and `until` (exclusive): times or days. `data`: prefix of the snapshot digest. `text`: searched in name, requester, reason and hyperparameters. `order`: version, newest, oldest, or a metric (best first; worst first with a leading -). Versions of drills are found only with status=drill.',
    answers: { 200: 'The versions, without their manifests, and next_cursor when there are more' },
    answerSchema: schema.page(
      'versions',
      schema.extend(foundVersion, { metrics: schema.map(schema.nullable(schema.number)) }),
    ),
    query: z.strictObject({ ...versionSearchFields, limit }),
    async handle({ query }) {
      const { order = 'version', metric: conditions, cursor, ...filter } = query
      requireInOrder(filter.since, filter.until)
      const { versions, next } = await findVersions(deps.store, {
        ...filter,
        order,
        conditions,
        after: cursor === undefined ? undefined : keyOfCursor(cursor, order),
      })
      return {
        json: {
          versions: versions.map((each) => ({ ...toWire(each), metrics: each.lineage.metrics ?? {} })),
          next_cursor: next === undefined ? undefined : cursorOfKey(next, order),
        },
      }
    },
  }),
  defineRoute('get', '/v1/versions/compare', viewers, {
    summary:
      'Compare two versions: metrics, hyperparameters, data, features, code, training and sizes, differences first. Name each as model_v1.2.0, model@v1.2.0, model@champion or model@latest.',
    answers: { 200: 'The fields that differ (numbers as other − one), the fields that do not, and notes' },
    answerSchema: schema.data,
    query: z.strictObject({ one: versionText, other: versionText }),
    async handle({ query }) {
      return { json: (await compareNamed(deps.store, query)).comparison }
    },
  }),
  defineRoute('post', '/v1/models/:name/versions', startRetraining.roles, {
    summary: `Bring a version that was trained elsewhere: a file of LightGBM, XGBoost, CatBoost or ONNX of at most ${uploadLimits.artifactBytes / 1_048_576} MiB, or, as an admin, a tar of a folder of Python code. It is evaluated on the frozen rows against the champion, registered and released as a retraining is. As multipart/form-data: artifact, and optionally columns (columns.json, with the names and vocabularies of its columns), trained_on, allow_unknown_categories (why the model may lack categories of more than 2 % of the training rows), allow_other_versions (why its pickle may be of another minor version of its library), note and as_of; or the bytes alone.`,
    answers: {
      202: `The evaluation has started, or ${whenDeferred}`,
      422: 'The file is not read, or does not fit the features of the model; the detail says why',
    },
    answerSchema: { allOf: [retrainingStarted, schema.record({ artifact: schema.data })] },
    rawBytes: uploadLimits.artifactBytes + uploadLimits.columnsBytes + 65_536,
    contentTypes: uploadTypes,
    rawSchema: uploadForm,
    query: uploadNotes(deps.serving.wall),
    async handle(request) {
      const model = request.params['name']!
      const { note, asOf, ...upload } = await readUpload(request, uploadNotes(deps.serving.wall))
      const { brought, ...read } = await checkArtifact(deps, request.actor!, { model, ...upload })
      const started = await respondToStart(deps, startRetraining, request, {
        model,
        asOf,
        artifact: brought,
        reason: note,
      })
      return { ...started, json: { ...(started.json as object), artifact: toWire({ ...brought, ...read }) } }
    },
  }),
  defineRoute('post', '/v1/bundles', startRetraining.roles, {
    summary: `Import a bundle of \`tenure bundle export\` that a trusted installation has signed, of at most ${uploadLimits.artifactBytes / 1_048_576} MiB. Its version is evaluated on the rows of this installation, registered and released as a retraining is; approvals of the source approve nothing here. As multipart/form-data: artifact (the bundle), and optionally note and as_of; or the bytes alone.`,
    answers: {
      202: `The evaluation has started, or ${whenDeferred}`,
      422: 'The bundle is not trusted, was changed, or does not fit the model; the detail says why',
    },
    answerSchema: { allOf: [retrainingStarted, schema.record({ bundle: schema.data })] },
    rawBytes: uploadLimits.artifactBytes + 65_536,
    rawSchema: bundleForm,
    contentTypes: uploadTypes,
    query: uploadNotes(deps.serving.wall),
    async handle(request) {
      const upload = await readUpload(request, uploadNotes(deps.serving.wall))
      const { model, bundle, brought } = await importBundle(deps, request.actor!, upload.artifact)
      const started = await respondToStart(deps, startRetraining, request, {
        model,
        asOf: upload.asOf,
        artifact: brought,
        reason: upload.note,
      })
      return { ...started, json: { ...(started.json as object), model, bundle: toWire(bundle) } }
    },
  }),
  defineRoute('get', '/v1/versions/:version/failures', viewers, {
    summary:
      'List the newest requests that a version failed, with their inputs, newest first. A sample: a replica keeps at most 50 a second of a version, and a version its newest 1,000.',
    answers: { 200: 'The failed requests; without inputs where these are larger than 64 KiB' },
    answerSchema: schema.record({ failures: schema.list(versionFailure) }),
    query: z.strictObject({ limit }),
    async handle({ params, query }) {
      const id = params['version']!
      const { model, version } = await getVersion(deps.store, id)
      const failures = await listFailedRequests(deps.store, { model, version, limit: query.limit })
      return { json: { failures: failures.map((each) => ({ ...toWire(each), inputs: each.inputs })) } }
    },
  }),
  defineRoute('post', '/v1/versions/:version/load-tests', startRoles.loadTest, {
    summary:
      'Start a load test of a version: repeat the requests of the busiest ten seconds of the last week at that rate times `factor` (default: 2), or at `rate` requests per second, for `seconds` (default: 15), on a training worker.',
    answers: { 202: 'The load test has started' },
    answerSchema: schema.record({
      id: schema.text,
      version: schema.text,
      rate: schema.number,
      seconds: schema.number,
    }),
    body: z.strictObject({
      factor: z.number().positive().max(loadTestLimits.maxFactor).optional(),
      rate: z.number().min(1).max(loadTestLimits.maxRate).optional(),
      seconds: z.int().min(1).max(loadTestLimits.maxSeconds).optional(),
    }),
    async handle({ actor, params, body, commandId }) {
      const input = { ...body, version: params['version']! }
      return { status: 202, json: toWire(await startLoadTest(deps, actor!, input, { id: commandId })) }
    },
  }),
  defineRoute('get', '/v1/versions/:version/load-test', viewers, {
    summary: 'Show the last load test of a version, and whether one runs.',
    answers: { 200: 'The load test; `text` says its result in words' },
    answerSchema: schema.record(
      { running: schema.flag },
      { last: schema.dataOf<LoadTest>(), text: schema.text },
    ),
    async handle({ params }) {
      return { json: await readLoadTest(deps, params['version']!) }
    },
  }),
  defineRoute('get', '/v1/versions/:version', viewers, {
    summary: 'Show a version with its manifest, lineage and status.',
    answers: { 200: 'The version' },
    answerSchema: schema.extend(foundVersion, { manifest: schema.data }, { signature: schema.text }),
    async handle({ params }) {
      const id = params['version']!
      const version = await getVersion(deps.store, id)
      const { signature, ...shown } = version
      const status = await findStatus(deps.store, version.version)
      return { json: { ...toWire({ ...shown, ...status }), signature: signature?.toString('base64') } }
    },
  }),
]

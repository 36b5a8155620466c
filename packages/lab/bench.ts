/** Runs a bench by its name, with the options that follow; lists all without a name: `npm run bench [-- NAME [OPTION …]]`. */

const benches: Readonly<Record<string, readonly [measures: string, run: () => Promise<unknown>]>> = {
  arms: ['reading the outcomes of ten million users', () => import('./judgements/arms.ts')],
  audit: ['a verification of the whole audit log', () => import('./audit/audit.ts')],
  batch: ['batch prediction beside a script of scikit-learn', () => import('./batch/batch.ts')],
  'beside-onnx': ['a compiled model beside a slow ONNX graph', () => import('./beside-onnx/beside-onnx.ts')],
  business: ['the judge of business metrics', () => import('./judgements/business.ts')],
  chaos: ['random faults on the whole system', () => import('./chaos/chaos.ts')],
  chart: ['the Helm chart on a real API server, upgraded in mid-canary', () => import('./chart/chart.ts')],
  cli: ['the first output of each command', () => import('./cli/first-output.ts')],
  compose: ['the containers of compose.yaml', () => import('./compose/compose.ts')],
  compression: ['twelve models made smaller', () => import('./compression/compression.ts')],
  crash: ['a worker killed at every event of a release', () => import('./faults/crash.ts')],
  decisions: ['false rollbacks and detection, beside other rules', () => import('./decisions/decisions.ts')],
  distil: ['a small network in place of a pipeline of scikit-learn', () => import('./distil/distil.ts')],
  drift: ['the alarms of drift in simulated months', () => import('./judgements/drift.ts')],
  endpoints: ['what Tenure adds to a call of an endpoint', () => import('./endpoints/endpoints.ts')],
  external: ['the judge of external metrics', () => import('./judgements/external.ts')],
  fidelity: [
    'the judge of children that answer like their parents',
    () => import('./judgements/fidelity.ts'),
  ],
  fleet: ['several replicas under load, rollbacks and faults', () => import('./fleet/fleet.ts')],
  forests: ['forests over HTTP, beside servers of LightGBM', () => import('./forests/forests.ts')],
  halfyear: ['half a year of flights without an operator', () => import('./half-year/half-year.ts')],
  harm: ['the harm of bad releases under a searched policy', () => import('./judgements/harm.ts')],
  hosts: ['five hosts with cut links and lost hosts', () => import('./hosts/hosts.ts')],
  incidents: ['eleven kinds of failures, for seven release rules', () => import('./incidents/incidents.ts')],
  intake: ['each road of a table into a snapshot', () => import('./intake/intake.ts')],
  interop: ['gRPC, streams and tracing', () => import('./interop/interop.ts')],
  judgements: ['judges without outcomes, and holdback', () => import('./judgements/judgements.ts')],
  log: ['the prediction log under load and kills', () => import('./log/log.ts')],
  'long-release': ['a release of 50,000 events', () => import('./long-release/long-release.ts')],
  looks: ['pictures of pages before and after a change', () => import('./walks/looks.ts')],
  'many-models': ['start and sync of a thousand models', () => import('./many-models/many-models.ts')],
  monitors: ['the monitors of a thousand models', () => import('./monitors/monitors.ts')],
  'node-versions': ['the supported versions of Node', () => import('./node-versions/node-versions.mjs')],
  outage: ['predictions without Postgres and Temporal', () => import('./outage/outage.ts')],
  overload: ['overload and slow clients', () => import('./serving/overload.ts')],
  pages: ['the pages of the dashboard on a full database', () => import('./pages/pages.ts')],
  'python-containment': ['faults of a model in Python', () => import('./python-objects/containment.ts')],
  'python-objects': [
    'an object of Python beside FastAPI',
    () => import('./python-objects/python-objects.ts'),
  ],
  races: ['a thousand races of commands', () => import('./faults/races.ts')],
  recovery: ['everything deleted, restored from a bucket', () => import('./recovery/recovery.ts')],
  refit: ['what a refit is worth on late labels', () => import('./refit/refit.ts')],
  serve: ['serving, beside other servers', () => import('./serving/serve.ts')],
  streams: ['predictions for a topic of Kafka', () => import('./streams/streams.ts')],
  'team-day': ["a team's first day, from empty folders", () => import('./team-day/day.ts')],
  'thirty-days': ['thirty days of a model in minutes', () => import('./half-year/thirty-days.ts')],
  train: ['trainings beside TensorFlow in Python', () => import('./training/train.ts')],
  upgrade: ['an upgrade in mid-canary', () => import('./upgrade/upgrade.ts')],
  walks: ['the tasks of a person on call, on a phone', () => import('./walks/walks.ts')],
  watch: ['the watch of champions', () => import('./watch/watch.ts')],
  worth: ['a year of models, beside simpler rules', () => import('./worth/worth.ts')],
}

// A bench finds its options where it would without this program.
const [name] = process.argv.splice(2, 1)
const found = name === undefined ? undefined : benches[name]
if (found) await found[1]()
else {
  if (name !== undefined) process.exitCode = 1
  const lines = Object.entries(benches).map(([each, [measures]]) => `${each.padEnd(20)} ${measures}`)
  const problem = name === undefined ? '' : `There is no bench ${name}. `
  console.log([`${problem}npm run bench -- NAME [OPTION …]`, '', ...lines].join('\n'))
}

/** Generates the reference page of model files from the comments of the code. */
import { readDeclarations, type Declarations, type Member } from './members.ts'
import { markdownCode, markdownTable } from './markdown-table.ts'

interface Part {
  title: string
  about?: string
  file: string
  /** Interfaces to list, each with an introduction. */
  types?: readonly (readonly [type: string, before: string])[]
  /** Functions to list; 'all' means every exported one. */
  calls?: readonly string[] | 'all'
}

const define = (name: string) => `models/define/${name}.ts`
const parts: readonly Part[] = [
  {
    title: 'The file',
    about:
      'A file in `models/`, named like the model, exports the result of `defineModel({ … })` with these fields.',
    file: define('model'),
    types: [['ModelFile', '']],
  },
  {
    title: 'Features',
    about: 'Names begin with a letter and have letters, digits and _ only.',
    file: 'domain/model/features.ts',
    types: [
      ['NumberFeature', '`number({ … })`:'],
      ['CategoryFeature', "`category(['red', 'green'])`, or `category({ … })`:"],
    ],
  },
  {
    title: 'Feature views',
    about:
      'Values of entities that change over time, and features that come from them: [how they work](../features.md).',
    file: define('data/view'),
    calls: ['view'],
    types: [['ViewFile', 'It takes a name and:']],
  },
  {
    title: 'Features of views',
    file: define('data/lookup'),
    calls: ['lookup'],
    types: [['LookupOptions', 'It takes a view, the name of a value and:']],
  },
  {
    title: 'Label',
    file: define('label'),
    calls: ['yesNo', 'oneOf', 'quantity', 'quantities', 'quantiles', 'pinball'],
    types: [['LabelOptions', 'All labels take:']],
  },
  {
    title: 'Source',
    about: 'All times are UTC. Paths are relative to the project.',
    file: define('data/source'),
    calls: ['csv', 'parquet', 'postgres', 'served'],
    types: [['SourceOptions', 'Each but `served` takes as its last argument:']],
  },
  {
    title: 'Served rows',
    about: 'Rows of the prediction log with their outcomes: [which there are](../how-to/train-on-served.md).',
    file: define('data/served'),
    types: [['ServedOptions', '`served` takes:']],
  },
  {
    title: 'Expectations',
    about:
      'Each blocks the batch unless it is wrapped in `warn(…)`. Checks of columns take `{ mostly: 0.99 }`: the share of rows that must comply.',
    file: define('data/expect'),
    calls: 'all',
  },
  { title: 'Split', file: define('split'), calls: 'all' },
  {
    title: 'Train',
    about: '`train` receives these and returns the network.',
    file: define('model'),
    types: [
      ['Training', ''],
      ['FitOptions', '`fit` takes:'],
    ],
  },
  {
    title: 'Training programs',
    about:
      'In place of a function, `train` may name a program that trains. Paths are relative to the folder of the model file.',
    file: define('trainer'),
    calls: ['python', 'command', 'queue'],
    types: [
      ['ProgramOptions', 'Each takes as its last argument:'],
      ['PythonOptions', '`python` also:'],
    ],
  },
  { title: 'Evaluation', file: define('evaluation'), types: [['EvaluationSpec', '']] },
  {
    title: 'Behaviour tests',
    about:
      'Answers that every version must give, as the list `tests`: [how to write them](../how-to/evaluation/behaviour-tests.md).',
    file: define('behaviour/tests'),
    calls: ['exact', 'invariance', 'direction'],
    types: [
      ['ExactSpec', 'Each takes a name, and `exact`:'],
      ['InvarianceSpec', '`invariance`:'],
      ['DirectionSpec', '`direction`:'],
      ['RowsOfTest', '`invariance` and `direction` also:'],
    ],
  },
  {
    title: 'Release',
    about: 'Times are texts such as `30 min`, `2 h` and `7 d`. [Policies](policy.md) describe each strategy.',
    file: define('release'),
    calls: ['canary', 'blueGreen', 'rolling', 'ab', 'shadow', 'direct', 'percent'],
    types: [
      ['CommonSpec', 'Every strategy takes:'],
      ['CanarySpec', '`canary`, `rolling`, and the others but for the stages:'],
      ['StageOptions', 'A stage, as the second argument of `percent`:'],
      ['ApprovalSpec', '`approval`:'],
      ['ShadowSpec', '`shadow`:'],
      ['AbSpec', '`ab`:'],
    ],
  },
  {
    title: 'Targeted callers',
    about:
      'Callers who meet the candidate before any share: [how they are counted](../how-to/releases/targeted-exposure.md). `first` of a canary:',
    file: define('release/first'),
    types: [['FirstSpec', '']],
  },
  {
    title: 'Business metrics',
    about:
      'What users do after their first request, as [`POST /v1/events`](../how-to/releases/business-metrics.md) reports it: `business: { revenue: event(…) }`.',
    file: define('release/event'),
    calls: ['event'],
    types: [['EventOptions', '`event` takes the name of the events and:']],
  },
  {
    title: 'External metrics',
    about:
      'What other systems measure of each arm, [asked by query](../how-to/releases/external-metrics.md): `external: { complaints: promql(…) }`. Each takes the name of a source, the query, and options.',
    file: define('release/external'),
    calls: ['promql', 'sqlQuery', 'webhook'],
    types: [['ExternalOptions', 'The options:']],
  },
  { title: 'Drills', file: define('release/drill'), types: [['DrillSpec', '`drill`:']] },
  {
    title: 'Retrain',
    about:
      '`{ every: … }` or `{ cron: … }`, in UTC; or a list with at most one schedule and [triggers](../how-to/projects/triggers.md).',
    file: define('triggers/retrain'),
    calls: ['cron'],
    types: [['RetrainSpec', '']],
  },
  {
    title: 'Triggers',
    about:
      'New data and requests that start a retraining or a batch: `retrain: [cron(…), whenFile(…)]`, `when: […]` of a batch.',
    file: define('triggers/triggers'),
    calls: ['whenFile', 'whenWatermark', 'afterWorkflow', 'onWebhook'],
    types: [
      ['SensorOptions', '`whenFile`, `whenWatermark` and `afterWorkflow` take:'],
      ['WatermarkOptions', '`whenWatermark`:'],
      ['WorkflowOptions', '`afterWorkflow`:'],
      ['WebhookOptions', '`onWebhook`:'],
    ],
  },
  {
    title: 'Batches',
    about:
      'Rows that the champion scores day by day or when a trigger fires: [how they work](../how-to/projects/batches.md).',
    file: define('triggers/batches'),
    calls: ['daily'],
    types: [
      ['ScheduledBatchSpec', 'Each batch has:'],
      ['DailyOptions', '`daily` takes:'],
    ],
  },
  { title: 'Monitor', file: define('monitor'), types: [['MonitorSpec', '']] },
  { title: 'Fallback', file: define('fallback'), calls: ['always', 'previousChampion'] },
]

/** Exported functions that are not part of the API for model files. */
const behind = /^(?:compile|check|issuesOf|is)[A-Z]/

export function modelFilePage(): string {
  return [
    '# Model files',
    '',
    'Every word of a file in `models/`, from the comments of the code. [The tutorial](../tutorial.md) writes one, and',
    '[policies](policy.md) describe the result. `tenure models sync` refuses a wrong file and lists all its issues.',
    '',
    ...parts.flatMap(({ title, about = '', file, types = [], calls = [] }) => {
      const declared = readDeclarations(file)
      return [
        `## ${title}`,
        '',
        ...(about === '' ? [] : [about, '']),
        ...(calls.length === 0 ? [] : [markdownTable(['word', 'meaning'], callsOf(declared, calls)), '']),
        ...types.flatMap(([type, before]) => [
          ...(before === '' ? [] : [before, '']),
          markdownTable(['name', 'type', 'meaning'], rowsOfTruths(membersOf(declared, type), '', type)),
          '',
        ]),
      ]
    }),
  ].join('\n')
}

function callsOf({ functions, path }: Declarations, wanted: readonly string[] | 'all'): string[][] {
  const names = wanted === 'all' ? [...functions.keys()].filter((name) => !behind.test(name)) : wanted
  return names.map((name) => {
    const meaning = functions.get(name)
    if (meaning === undefined || meaning === '')
      throw new Error(`${path} has no ${name} with a comment that says what it is`)
    return [markdownCode(name), meaning]
  })
}

function membersOf({ types, path }: Declarations, name: string): Member[] {
  const found = types.get(name)
  if (found === undefined) throw new Error(`there is no type ${name} in ${path}`)
  return found
}

function rowsOfTruths(members: readonly Member[], prefix: string, type: string): string[][] {
  return members.flatMap((member) => {
    const name = `${prefix}${member.name}`
    if (member.name === 'kind') return []
    if (member.meaning === '') throw new Error(`${type}.${name} has no comment that says what it is`)
    const inner = rowsOfTruths(member.members, `${name}.`, type)
    return [
      [
        markdownCode(`${name}${member.optional ? '?' : ''}`),
        inner.length > 0 || member.type.length > 60 ? '' : markdownCode(member.type),
        member.meaning,
      ],
      ...inner,
    ]
  })
}

/** `POST /v1/models/:name/explain`: attributes the predictions of some rows to their features. */
import { z } from 'zod'
import type { Role } from '../../../domain/roles.ts'
import * as schema from '../../../domain/schema.ts'
import { defineRoute, viewers, type RouteDefinition } from '../../http/route.ts'
import type { ApiDeps } from '../../deps.ts'
import { explainLimits, explainPredictions } from '../../services/explanation/explain-predictions.ts'

const row = z.record(
  z.string(),
  z.union([z.number(), z.string().describe('A category.'), z.boolean(), z.null()]),
)

/** Requires a key even where predictions are public, because an explanation starts a process. */
const explainers: readonly Role[] = [...viewers, 'predictor']

const textOrNumber = { anyOf: [schema.text, schema.number] }
const explanationsAnswer = schema.record({
  model: schema.text,
  version: schema.text,
  method: schema.oneOf('tree_shap', 'linear', 'sampled'),
  scale: schema.oneOf('raw', 'answer'),
  background: schema.record({ rows: schema.count, from: schema.oneOf('request', 'golden rows') }),
  explanations: schema.list(
    schema.record(
      {
        answer: schema.number,
        base: schema.number,
        score: schema.number,
        attributions: schema.list(
          schema.record(
            { feature: schema.text, value: schema.nullable(textOrNumber), attribution: schema.number },
            { error: schema.number },
          ),
        ),
      },
      { of: textOrNumber },
    ),
  ),
})

export const explanationRoutes = (deps: ApiDeps): RouteDefinition[] => [
  defineRoute('post', '/v1/models/:name/explain', explainers, {
    summary: `Explain the predictions of the champion, or of another version, for at most ${explainLimits.rows} rows: what each feature adds to the mean prediction of the background rows. Logs no prediction.`,
    answers: { 200: 'The attributions; base and attributions of a row sum to its score' },
    answerSchema: explanationsAnswer,
    body: z.strictObject({
      instances: z.array(row),
      /** A version of the model, or `model@latest`. */
      version: z.string().min(1).max(200).optional(),
      background: z.array(row).optional(),
      of: z.union([z.string().max(200), z.number()]).optional(),
    }),
    async handle({ actor, params, body }) {
      return { json: await explainPredictions(deps, actor!, { model: params['name']!, ...body }) }
    },
  }),
]

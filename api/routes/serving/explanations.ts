/** `POST /v1/models/:name/explain`: attributes the predictions of some rows to their features. */
import { z } from 'zod'
import type { Role } from '../../../domain/roles.ts'
import {
  arrayOf,
  countField,
  nullable,
  numberField,
  oneOfTexts,
  schemaOfFields,
  textField,
} from '../answers/fields.ts'
import { defineRoute, viewers, type RouteDefinition } from '../../http/route.ts'
import type { ApiDeps } from '../../deps.ts'
import { explainLimits, explainPredictions } from '../../services/explanation/explain-predictions.ts'

const row = z.record(
  z.string(),
  z.union([z.number(), z.string().describe('A category.'), z.boolean(), z.null()]),
)

/** Requires a key even where predictions are public, because an explanation starts a process. */
const explainers: readonly Role[] = [...viewers, 'predictor']

const textOrNumber = { anyOf: [textField, numberField] }
const explanationsAnswer = schemaOfFields({
  model: textField,
  version: textField,
  method: oneOfTexts('tree_shap', 'linear', 'sampled'),
  scale: oneOfTexts('raw', 'answer'),
  background: schemaOfFields({ rows: countField, from: oneOfTexts('request', 'golden rows') }),
  explanations: arrayOf(
    schemaOfFields(
      {
        answer: numberField,
        base: numberField,
        score: numberField,
        attributions: arrayOf(
          schemaOfFields(
            { feature: textField, value: nullable(textOrNumber), attribution: numberField },
            { error: numberField },
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
      return { json: await explainPredictions(deps, actor, { model: params['name']!, ...body }) }
    },
  }),
]

/** Describes the responses of triggers. */
import { pagedListOf, schemaOfFields, textField, timeField } from './fields.ts'

export const triggersAnswer = pagedListOf(
  'triggers',
  schemaOfFields(
    { model: textField, trigger: textField, kind: textField, waits_for: textField },
    {
      fired_at: timeField,
      message: textField,
      retraining: textField,
      scoring: textField,
      outcome: textField,
      looked_at: timeField,
      next_at: timeField,
      problem: textField,
    },
  ),
)

export const triggerFiredAnswer = schemaOfFields({
  id: textField,
  model: textField,
  trigger: textField,
  message: textField,
})

/** Names the models under comparison: never retrained, retrained weekly, and Tenure. */

export type Contender = 'never' | 'weekly' | 'tenure'
export const names: Record<Contender, string> = {
  never: 'never retrained',
  weekly: 'retrained weekly',
  tenure: 'Tenure',
}
export const contenders = Object.keys(names) as Contender[]

/** The part of jstat that distributions.ts uses; the package ships no types. */
declare module 'jstat' {
  interface Continuous2 {
    cdf(x: number, a: number, b: number): number
    inv(p: number, a: number, b: number): number
  }
  const jstat: {
    normal: Continuous2
    beta: Continuous2
    chisquare: { cdf(x: number, dof: number): number }
  }
  export default jstat
}

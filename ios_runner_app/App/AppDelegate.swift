import RunnerCore
import UIKit

/// The app's entry. It starts the runner and shows its status; what happens is the runner's business.
@main
final class AppDelegate: UIResponder, UIApplicationDelegate {
  /// Runs from launch to the app's end.
  private(set) static var runner: RunnerApp?
  private static var notices: SystemNotices?

  func application(
    _ application: UIApplication, didFinishLaunchingWithOptions launchOptions: [UIApplication.LaunchOptionsKey: Any]?
  ) -> Bool {
    // A phone that locks itself suspends the app in the middle of a measurement.
    application.isIdleTimerDisabled = true
    do {
      let thermal = Gauge()
      let app = try PhoneApp.start(thermal: thermal)
      Self.notices = SystemNotices(thermal: thermal) { app.notice($0, $1) }
      Self.runner = app
    } catch {
      PhoneApp.end(error)
    }
    return true
  }

  func application(
    _ application: UIApplication, configurationForConnecting connectingSceneSession: UISceneSession,
    options: UIScene.ConnectionOptions
  ) -> UISceneConfiguration {
    let configuration = UISceneConfiguration(name: nil, sessionRole: connectingSceneSession.role)
    configuration.delegateClass = StatusScene.self
    return configuration
  }
}

/// The one scene: a window with the status screen.
final class StatusScene: UIResponder, UIWindowSceneDelegate {
  var window: UIWindow?

  func scene(_ scene: UIScene, willConnectTo session: UISceneSession, options: UIScene.ConnectionOptions) {
    guard let scene = scene as? UIWindowScene else { return }
    let window = UIWindow(windowScene: scene)
    window.rootViewController = StatusViewController(status: { AppDelegate.runner?.status })
    window.makeKeyAndVisible()
    self.window = window
  }
}
